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
  std::string given;  // The text as given, for messages, without white space around it.
  // A host name, or an IPv4 or IPv6 address without brackets. Empty if only gRPC can resolve the
  // address ("unix:", "xds:", or "dns:" with a name server of its own).
  std::string host;
  int port = 0;
  bool is_literal = false;   // `host` is an address, not a name.
  std::string target;        // The target for gRPC.
  std::string authority;     // The server's name for HTTP/2 and TLS; empty: gRPC's own choice.
  bool of_this_machine = false;  // The written form says so: loopback, or a Unix socket.
};

// Parses one address. An address without a port is taken only with `tls`, which has a port of its
// own. INVALID_ARGUMENT: gRPC takes no such form; the message says what to write instead.
absl::StatusOr<ServerAddress> ParseServerAddress(absl::string_view given, bool tls);

// A proxy of HTTP that the environment names.
struct HttpProxy {
  std::string variable;
  std::string value;
};

// The proxy that gRPC goes through on the way to `host`; nullopt if it connects directly.
std::optional<HttpProxy> ProxyFor(absl::string_view host);

// The addresses of a host name, as the system knows them: such as "10.0.0.1" and "fe80::1%eth0".
// Blocks, with a bad name server for many seconds. UNAVAILABLE: there is no address; the message
// says why.
absl::StatusOr<std::vector<std::string>> LookUp(const std::string& host);

// The target for gRPC of an address from LookUp() and a port.
std::string TargetOf(const std::string& address, int port);
// Returns "10.0.0.1:50051" or "[::1]:50051", for example.
std::string WithPort(absl::string_view host, int port);

// Whether packets to `address` never leave the machine; false for anything that is no address.
bool IsOfThisMachine(const std::string& address);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_ADDRESS_H_
