#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_

#include "absl/status/status.h"
#include "client/cli/audio_input.h"
#include "client/cli/translate.h"
#include "client/client.h"

namespace leapstream::client {

// Streams a recording through one session and writes the translation to standard output as it
// arrives. Takes over the process's signals; call it once per process. The first SIGINT ends the
// input; a second one or SIGTERM ends the run. INVALID_ARGUMENT: the input has no sample, or ends
// within one. DATA_LOSS: nobody reads standard output any more. Other errors are those of
// AudioInput::Open(), and the server's answers.
absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_AUDIO_H_
