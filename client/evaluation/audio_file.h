#ifndef LEAPSTREAM_CLIENT_EVALUATION_AUDIO_FILE_H_
#define LEAPSTREAM_CLIENT_EVALUATION_AUDIO_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace leapstream::client {

// The channel of a recording that is read: a number from 1 on, or the mean of all channels.
inline constexpr int kAllChannels = 0;

// A recording in any format that libsndfile reads, converted for Stream::PushAudio(). A recording
// whose writer did not come to fill in its size is read to its end. Not thread-safe.
class AudioFile {
 public:
  // NOT_FOUND: it cannot be read. INVALID_ARGUMENT: it is no audio, or has no such channel.
  // OUT_OF_RANGE: it has no sample.
  static absl::StatusOr<std::unique_ptr<AudioFile>> Open(const std::string& path,
                                                         int channel = kAllChannels);
  // Reads an open file, from its first byte on; errors as above. `name` is for messages. Takes a
  // copy of `fd`.
  static absl::StatusOr<std::unique_ptr<AudioFile>> Open(int fd, const std::string& name,
                                                         int channel = kAllChannels);
  virtual ~AudioFile() = default;

  virtual int sample_rate() const = 0;
  virtual int64_t samples() const = 0;  // Samples of one channel.
  // The next `count` samples of the channel as AudioFormat::kPcmF32Le; fewer at the end, none
  // after it. Every 16-bit sample is exactly a float.
  virtual std::string Read(int64_t count) = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_AUDIO_FILE_H_
