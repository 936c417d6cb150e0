#ifndef LEAPSTREAM_CLIENT_NAMES_H_
#define LEAPSTREAM_CLIENT_NAMES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace leapstream::client {

// Looks host names up, again and again, in a thread of its own, since the system's functions for it
// block. Knows nothing of what is done with the addresses. Thread-safe.
class Names {
 public:
  // `lookup`: null: the system's.
  Names(std::vector<std::string> hosts, AddressLookup lookup);
  ~Names();  // Does not wait for a lookup that goes on.
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  // All are looked up anew, unless that goes on or was done a moment ago. Does not block.
  void LookAgain();
  // Until no lookup goes on that is due or had begun; false: not within `timeout`.
  bool Wait(absl::Duration timeout);

  // The number of answers that differed from the one before; 0: none has come.
  int64_t changes() const;
  // Of the host of this number. An error: its first lookup goes on, or no lookup has ever found
  // it; what was found once is kept when a name server is out of reach.
  absl::StatusOr<std::vector<std::string>> addresses(size_t host) const;

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;  // The thread's too.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_NAMES_H_
