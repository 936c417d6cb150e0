#include "client/load/capacity.h"

#include <algorithm>

#include "base/status.h"

namespace leapstream::client {

absl::StatusOr<Capacity> FindCapacity(int first, int limit,
                                      absl::FunctionRef<absl::StatusOr<bool>(int)> holds) {
  Capacity found;
  int next = first;
  while (next > 0) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const bool held, holds(next));
    (held ? found.most : found.least) = next;
    if (found.least == 0) {
      next = found.most == limit ? 0 : std::min(limit, 2 * found.most);
    } else if (found.most == 0) {
      next = found.least / 2;
    } else {
      const int apart = found.least - found.most;
      next = apart > std::max(1, found.most / 20) ? found.most + apart / 2 : 0;
    }
  }
  return found;
}

}  // namespace leapstream::client
