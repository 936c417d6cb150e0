#ifndef LEAPSTREAM_CLIENT_CLI_AUDIO_INPUT_H_
#define LEAPSTREAM_CLIENT_CLI_AUDIO_INPUT_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/types.h"

namespace leapstream::client {

struct AudioInputOptions {
  // A file that libsndfile reads; "-": standard input. Standard input and a named pipe may also
  // have raw mono PCM_S16LE, or WAV or AU while it is being written.
  std::string path;
  int sample_rate = 16000;  // Rate of raw samples; a header has its own.
  int channel = 0;          // From 1 on; 0: the mean of all channels.
  bool real_time = true;    // A file is sent as if it were being spoken.
};

// A source of samples, in the stream's format, of one channel. Not thread-safe.
class AudioInput {
 public:
  // The audio that one Read() of a file gives.
  static constexpr absl::Duration kChunk = absl::Milliseconds(100);

  // Waits until the kind of input is known; the signals must have been taken over. NOT_FOUND: there
  // is no such file. INVALID_ARGUMENT: the input is no audio, or none that a pipe can have.
  // CANCELLED: a signal ended the wait.
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(const AudioInputOptions& options);
  virtual ~AudioInput() = default;

  virtual int sample_rate() const = 0;
  virtual AudioFormat format() const = 0;
  // Descriptor to wait for before Read(); -1: it never blocks.
  virtual int fd() const { return -1; }
  // The next samples; nullopt: the end.
  virtual absl::StatusOr<std::optional<std::string>> Read() = 0;
  // The fault of an input that has ended. The samples before it are translated all the same.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_AUDIO_INPUT_H_
