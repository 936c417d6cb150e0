#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/translate.h"
#include "client/client.h"

namespace leapstream::client {

struct AudioInputOptions {
  // A file that libsndfile reads; "-": standard input. Standard input and a named pipe may also
  // have raw mono PCM_S16LE, or WAV or AU while it is being written.
  std::string path;
  int sample_rate = 16000;  // Rate of raw samples; a header has its own.
  bool real_time = true;    // A file is sent as if it were being spoken.
};

// Streams a recording through one session and writes the translation to standard output as it
// arrives. Channels are averaged. The first SIGINT ends the input; a second one or SIGTERM ends the
// run. NOT_FOUND: there is no such file. INVALID_ARGUMENT: the input is no audio, or none that a
// pipe can have, has no sample, or ends within one. DATA_LOSS: nobody reads standard output any
// more. Other errors are the server's answers.
absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
