#include "streaming/lagging.h"

#include <algorithm>

namespace leapstream {

double AverageLagging(absl::Span<const int> delays, int source_length, int target_length) {
  if (delays.empty() || source_length <= 0 || target_length <= 0) return 0;
  const double pace = static_cast<double>(source_length) / target_length;
  double sum = 0;
  int steps = 0;
  for (const int delay : delays) {
    sum += delay - steps * pace;
    ++steps;
    // What is written after the whole source is read does not lag.
    if (delay >= source_length) break;
  }
  return sum / steps;
}

double LengthAdaptiveAverageLagging(absl::Span<const int> delays, int source_length,
                                    int reference_length) {
  return AverageLagging(delays, source_length,
                        std::max(reference_length, static_cast<int>(delays.size())));
}

}  // namespace leapstream
