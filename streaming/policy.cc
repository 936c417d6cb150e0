#include "streaming/policy.h"

namespace leapstream {

Action WaitK::Decide(const Progress& progress) const {
  if (progress.source_finished) return Action::kWrite;
  if (offline) return Action::kRead;
  // In 64 bits: k and the target may both be as large as an int.
  const long long due = static_cast<long long>(k) + progress.target_written / write_stride;
  return progress.source_read < due ? Action::kRead : Action::kWrite;
}

}  // namespace leapstream
