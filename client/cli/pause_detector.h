#ifndef LEAPSTREAM_CLIENT_CLI_PAUSE_DETECTOR_H_
#define LEAPSTREAM_CLIENT_CLI_PAUSE_DETECTOR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace leapstream::client {

// Where a stream of audio may be cut into segments: where it has been quiet for a while after it
// was not. Quiet is a root mean square of 10 ms below a threshold. However the audio is cut into
// chunks, the pauses are the same. Not thread-safe.
class PauseDetector {
 public:
  static constexpr double kThreshold = 0.01;  // -40 dB of full scale.

  PauseDetector(int sample_rate, absl::Duration pause);

  // How many of `samples`, in [-1, 1], go before each pause that they complete; ascending.
  std::vector<size_t> Append(absl::Span<const float> samples);

 private:
  const size_t frame_;  // Samples.
  const int64_t pause_frames_;
  size_t in_frame_ = 0;  // Samples of the open frame,
  double energy_ = 0;    // and the sum of their squares.
  int64_t quiet_frames_ = 0;
  bool heard_ = false;  // Something that was not quiet, since the last pause.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PAUSE_DETECTOR_H_
