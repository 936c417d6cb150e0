#ifndef LEAPSTREAM_SERVER_ADDRESS_H_
#define LEAPSTREAM_SERVER_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

struct Address {
  std::string host;  // The brackets of an IPv6 address are left out.
  int port = 0;      // 0: any free one.
};

// Reads HOST:PORT, where an IPv6 address is in brackets. INVALID_ARGUMENT: `text` is something
// else.
absl::StatusOr<Address> ParseAddress(absl::string_view text);

// True if only this machine reaches the address: 127.0.0.0/8, ::1 or localhost.
bool IsLoopback(const Address& address);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ADDRESS_H_
