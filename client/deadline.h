#ifndef LEAPSTREAM_CLIENT_DEADLINE_H_
#define LEAPSTREAM_CLIENT_DEADLINE_H_

#include <algorithm>

#include "base/clock.h"
#include "grpc/support/time.h"
#include "grpcpp/support/time.h"

namespace leapstream::client {

// Converts `deadline` for the calls, alarms and waits of gRPC; the system's date has no part in it.
inline gpr_timespec GrpcDeadline(SteadyTime deadline) {
  const absl::Duration left = deadline - SteadyNow();
  if (left >= absl::Hours(24 * 366)) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_from_nanos(absl::ToInt64Nanoseconds(std::max(left, absl::ZeroDuration())),
                             GPR_TIMESPAN);
}

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_DEADLINE_H_
