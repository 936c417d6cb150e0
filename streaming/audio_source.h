#ifndef LEAPSTREAM_STREAMING_AUDIO_SOURCE_H_
#define LEAPSTREAM_STREAMING_AUDIO_SOURCE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace leapstream {

inline constexpr int kMinSampleRate = 8000;
inline constexpr int kMaxSampleRate = 192000;

// Audio of one segment that waits to be read, at the rate that models take. Other rates are
// resampled as they come (libsamplerate's band-limited interpolation), in blocks of 10 ms, so that
// how the audio was cut does not show.
class AudioSource {
 public:
  // INVALID_ARGUMENT: a rate outside [kMinSampleRate, kMaxSampleRate].
  static absl::StatusOr<std::unique_ptr<AudioSource>> Create(int sample_rate);
  virtual ~AudioSource() = default;

  virtual void Reset() = 0;
  // 16-bit integers as numbers, at the rate that was given.
  virtual void Append(absl::Span<const float> samples) = 0;
  virtual void Finish() = 0;  // No more comes: what the resampler still holds becomes available.
  virtual int64_t available() const = 0;  // Samples at kSpeechSampleRate.
  // Moves `count` of them, of those available, to the end of `samples`.
  virtual void Pop(int64_t count, std::vector<float>* samples) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_AUDIO_SOURCE_H_
