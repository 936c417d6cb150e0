#ifndef LEAPSTREAM_CLIENT_LOAD_CAPACITY_H_
#define LEAPSTREAM_CLIENT_LOAD_CAPACITY_H_

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace leapstream::client {

struct Capacity {
  int most = 0;   // The greatest number that was tried and held; 0 if not even one held.
  int least = 0;  // The smallest number that was tried and did not hold; 0 if all held.
};

// Finds the number up to which `holds` is true, as far as a twentieth of it. It tries `first`,
// `2 first` and so on up to `limit`, or `first / 2` and so on down to 1, then halves what lies
// between. A number near the border may hold once and not again: each is tried once. Errors are
// those of `holds`. 1 <= first <= limit.
absl::StatusOr<Capacity> FindCapacity(int first, int limit,
                                      absl::FunctionRef<absl::StatusOr<bool>(int)> holds);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_LOAD_CAPACITY_H_
