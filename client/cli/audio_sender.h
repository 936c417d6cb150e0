#ifndef LEAPSTREAM_CLIENT_CLI_AUDIO_SENDER_H_
#define LEAPSTREAM_CLIENT_CLI_AUDIO_SENDER_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/pause_detector.h"
#include "client/client.h"

namespace leapstream::client {

// Sends audio, and the ends of segments where it pauses. Not thread-safe.
class AudioSender {
 public:
  // `stream`, which was started with `options`, must outlive it. `pause` ends a segment; 0: none
  // does.
  AudioSender(Stream* stream, const StreamOptions& options, absl::Duration pause);

  // Errors of Stream::PushAudio().
  absl::Status Send(absl::string_view samples);

 private:
  Stream* const stream_;
  const AudioFormat format_;
  std::optional<PauseDetector> pauses_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_AUDIO_SENDER_H_
