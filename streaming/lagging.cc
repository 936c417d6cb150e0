#include "streaming/lagging.h"

#include <algorithm>
#include <vector>

#include "metrics/lagging.h"

namespace leapstream {

double AverageLagging(absl::Span<const int> delays, int source_length, int target_length) {
  if (target_length <= 0) return 0;
  const std::vector<double> read(delays.begin(), delays.end());
  return metrics::AverageLagging(read, source_length, target_length);
}

double LengthAdaptiveAverageLagging(absl::Span<const int> delays, int source_length,
                                    int reference_length) {
  return AverageLagging(delays, source_length,
                        std::max(reference_length, static_cast<int>(delays.size())));
}

}  // namespace leapstream
