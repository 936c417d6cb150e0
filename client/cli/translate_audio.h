#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/translate.h"
#include "client/client.h"

namespace leapstream::client {

struct AudioInputOptions {
  // A file that libsndfile reads; "-": standard input. That, and a pipe that has a name, may have
  // raw mono PCM_S16LE as well, or WAV or AU while it is being written.
  std::string path;
  int sample_rate = 16000;  // Of raw samples; a header has its own.
  bool real_time = true;    // A file is sent as if it were being spoken.
};

// Streams a recording through one session and writes the translation to standard output as it
// arrives. Channels are averaged. SIGINT ends the input, a second one the run, SIGTERM the run.
// NOT_FOUND: no such file; INVALID_ARGUMENT: no audio, none that a pipe can have, no sample, or an
// end within one; DATA_LOSS: nobody reads standard output any more. Else what the server answered.
absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
