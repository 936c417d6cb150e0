#ifndef LEAPSTREAM_SERVER_TLS_FILES_H_
#define LEAPSTREAM_SERVER_TLS_FILES_H_

#include <string>

#include "absl/status/status.h"

namespace leapstream {

// PEM files; read again when they change.
struct TlsFiles {
  std::string certificate;  // The chain, the server's own first. Empty: no TLS.
  std::string key;
  std::string
      client_ca;  // Clients must have a certificate that these signed; empty: they need none.
};

// Whether they can be used. gRPC would find out at the first handshake, and tell nobody.
// INVALID_ARGUMENT: a file that is not PEM, or a key that is not the certificate's; NOT_FOUND: one
// that cannot be read.
absl::Status CheckTlsFiles(const TlsFiles& files);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TLS_FILES_H_
