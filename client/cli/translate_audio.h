#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/translate.h"
#include "client/client.h"

namespace leapstream::client {

struct AudioInputOptions {
  std::string path;  // A file that libsndfile reads; "-": standard input, raw mono PCM_S16LE.
  int sample_rate = 16000;  // Of standard input; a file has its own.
  bool real_time = true;    // A file is sent as if it were being spoken.
};

// Streams a recording through one session and writes the translation to standard output as it
// arrives. Channels are averaged. SIGINT ends the input, a
// second one the run, SIGTERM the run. NOT_FOUND: no such file; INVALID_ARGUMENT: no audio, or
// standard input ends within a sample; DATA_LOSS: nobody reads standard output any more. Else what
// the server answered.
absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
