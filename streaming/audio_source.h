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

// The audio of one segment that waits to be read, at the rate that models take. Audio of another
// rate is resampled as it comes (libsamplerate's band-limited interpolation), in blocks of 10 ms,
// so that the result does not depend on how the audio was cut.
class AudioSource {
 public:
  // `sample_rate`: the rate of the audio that is appended. INVALID_ARGUMENT: it is outside
  // [kMinSampleRate, kMaxSampleRate].
  static absl::StatusOr<std::unique_ptr<AudioSource>> Create(int sample_rate);
  virtual ~AudioSource() = default;

  virtual void Reset() = 0;
  // Takes samples, whose values are those of 16-bit integers, at Create()'s sample rate.
  virtual void Append(absl::Span<const float> samples) = 0;
  // Ends the audio: the samples that the resampler still holds become available.
  virtual void Finish() = 0;
  virtual int64_t available() const = 0;  // The number of samples, at kSpeechSampleRate.
  // Moves `count` of the available samples to the end of `samples`.
  virtual void Pop(int64_t count, std::vector<float>* samples) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_AUDIO_SOURCE_H_
