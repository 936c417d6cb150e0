#ifndef LEAPSTREAM_CLIENT_NAMES_H_
#define LEAPSTREAM_CLIENT_NAMES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "client/types.h"

namespace leapstream::client {

// Looks host names up, again and again, each in a thread of its own, since the system's functions
// for it block, and a slow one is to delay no other. Knows nothing of what is done with the
// addresses. Thread-safe.
class Names {
 public:
  // `lookup`: null: the system's.
  Names(const std::vector<std::string>& hosts, AddressLookup lookup);
  ~Names();  // Does not wait for a lookup that goes on.
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  // Looks up all names again, unless a lookup goes on or ended a moment ago. Does not block.
  void LookAgain();
  // Until no lookup goes on, but for those that have gone on for `patience`.
  void Wait(absl::Duration patience);
  // Until each host's first lookup is over; false: not by `deadline`.
  bool WaitForFirst(SteadyTime deadline);

  // The number of answers that differed from the one before; 0: no answer has come.
  int64_t changes() const;
  // The addresses of the host of this number, one at least. An error: its first lookup goes on, or no
  // lookup has ever found it. Addresses that were found stay when a name server is out of reach.
  absl::StatusOr<std::vector<std::string>> addresses(size_t host) const;

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state, size_t number);  // A host's thread.
  const std::shared_ptr<State> state_;  // The threads' too.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_NAMES_H_
