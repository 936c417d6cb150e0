#include "server/address.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"

namespace leapstream {

absl::StatusOr<Address> ParseAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  Address address;
  bool good = colon != absl::string_view::npos;
  if (good) {
    absl::string_view host = text.substr(0, colon);
    const absl::string_view port = text.substr(colon + 1);
    const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
    good = !host.empty() && host.find_first_of(" \t\r\n/[]") == absl::string_view::npos &&
           (bracketed || host.find(':') == absl::string_view::npos) && !port.empty() &&
           port.find_first_not_of("0123456789") == absl::string_view::npos &&
           absl::SimpleAtoi(port, &address.port) && address.port <= 65535;
    address.host = std::string(host);
  }
  if (good) return address;
  return absl::InvalidArgumentError(
      absl::StrCat("must be HOST:PORT with a port from 0 to 65535, such as 0.0.0.0:50051 or "
                   "[::]:50051, got ",
                   Quoted(text)));
}

bool IsLoopback(const Address& address) {
  return address.host == "localhost" || address.host == "::1" ||
         absl::StartsWith(address.host, "127.");
}

}  // namespace leapstream
