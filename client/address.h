#ifndef LEAPSTREAM_CLIENT_ADDRESS_H_
#define LEAPSTREAM_CLIENT_ADDRESS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// One of the servers that `--server` names.
struct ServerAddress {
  std::string given;  // For messages, without white space around it.
  // A host name, or an IPv4 or IPv6 address without brackets. Empty: only gRPC knows what it is
  // ("unix:", "xds:", or "dns:" with a name server of its own).
  std::string host;
  int port = 0;
  bool is_literal = false;   // `host` is an address, not a name.
  std::string target;        // For gRPC.
  std::string authority;     // The server's name for HTTP/2 and TLS; empty: gRPC's own choice.
  bool of_this_machine = false;  // By its written form: loopback, or a socket of the file system.
};

// INVALID_ARGUMENT: it is none of the forms that gRPC takes; the message says what to write
// instead. Without a port it is one of `tls` alone, which has a port of its own.
absl::StatusOr<ServerAddress> ParseServerAddress(absl::string_view given, bool tls);

// A proxy of HTTP that the environment names.
struct HttpProxy {
  std::string variable;
  std::string value;
};

// The proxy that gRPC goes through on the way to `host`; nothing: it connects by itself.
std::optional<HttpProxy> ProxyFor(absl::string_view host);

// The addresses of a host name, as the system knows them: such as "10.0.0.1" and "fe80::1%eth0".
// Blocks, with a bad name server for many seconds. UNAVAILABLE: there is none; why.
absl::StatusOr<std::vector<std::string>> LookUp(const std::string& host);

// gRPC's target of an address that LookUp() gave.
std::string TargetOf(const std::string& address, int port);
// "10.0.0.1:50051", "[::1]:50051".
std::string WithPort(absl::string_view host, int port);

// True if packets to this address never leave the machine. False: also if it is no address.
bool IsOfThisMachine(const std::string& address);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_ADDRESS_H_
