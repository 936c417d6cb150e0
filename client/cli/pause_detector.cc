#include "client/cli/pause_detector.h"

#include <algorithm>

namespace leapstream::client {

PauseDetector::PauseDetector(int sample_rate, absl::Duration pause)
    : frame_(std::max(sample_rate / 100, 1)),
      pause_frames_(std::max<int64_t>(pause / absl::Milliseconds(10), 1)) {}

std::vector<size_t> PauseDetector::Append(absl::Span<const float> samples) {
  std::vector<size_t> cuts;
  for (size_t i = 0; i < samples.size(); ++i) {
    energy_ += static_cast<double>(samples[i]) * samples[i];
    if (++in_frame_ < frame_) continue;
    const bool quiet = energy_ < kThreshold * kThreshold * static_cast<double>(frame_);
    in_frame_ = 0;
    energy_ = 0;
    quiet_frames_ = quiet ? quiet_frames_ + 1 : 0;
    heard_ = heard_ || !quiet;
    if (!heard_ || quiet_frames_ < pause_frames_) continue;
    cuts.push_back(i + 1);
    heard_ = false;
  }
  return cuts;
}

}  // namespace leapstream::client
