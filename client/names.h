#ifndef LEAPSTREAM_CLIENT_NAMES_H_
#define LEAPSTREAM_CLIENT_NAMES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace leapstream::client {

// Looks up host names, as often as LookAgain() asks for it. This happens in a thread of its own,
// since the system's functions for it block. Knows nothing of what is done with the addresses.
// Thread-safe.
class Names {
 public:
  // A null `lookup` stands for the system's.
  Names(std::vector<std::string> hosts, AddressLookup lookup);
  ~Names();  // Does not wait for a lookup that goes on.
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  // Looks up all names again, unless a lookup goes on or ended a moment ago. Does not block.
  void LookAgain();
  // Waits until no lookup is due or going on; false: that is not so within `timeout`.
  bool Wait(absl::Duration timeout);

  // The number of answers that differed from the one before; 0: no answer has come.
  int64_t changes() const;
  // The addresses of hosts[host]. An error means that the first lookup of the host goes on, or that
  // no lookup has ever found it; addresses are kept while a name server is out of reach.
  absl::StatusOr<std::vector<std::string>> addresses(size_t host) const;

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;  // Shared with the thread.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_NAMES_H_
