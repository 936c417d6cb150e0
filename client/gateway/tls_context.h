#ifndef LEAPSTREAM_CLIENT_GATEWAY_TLS_CONTEXT_H_
#define LEAPSTREAM_CLIENT_GATEWAY_TLS_CONTEXT_H_

#include <openssl/ssl.h>

#include <string>

#include "absl/status/statusor.h"

namespace leapstream::gateway {

// A server's context of TLS 1.2 and later, with these PEM files. With a `client_ca` clients must
// have a certificate that it signed. The caller frees it with SSL_CTX_free(). INVALID_ARGUMENT: the
// files cannot be used.
absl::StatusOr<SSL_CTX*> NewServerContext(const std::string& certificate, const std::string& key,
                                          const std::string& client_ca);

// The name of the peer's certificate, as gRPC finds it: the first of its alternative names, or else
// its common name, or else "sha256:" and its fingerprint. Empty: the peer has no certificate.
std::string PeerName(const SSL* connection);

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_TLS_CONTEXT_H_
