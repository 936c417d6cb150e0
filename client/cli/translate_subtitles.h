#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_SUBTITLES_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_SUBTITLES_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/cli/subtitles.h"
#include "client/client.h"

namespace leapstream::client {

struct TranslateSubtitlesOptions {
  TextOptions text;
  std::string input;   // A file of SubRip or WebVTT.
  std::string output;  // "": standard output. It is written when all is translated.
  std::optional<SubtitleFormat> format;  // Unset: that of the output's name, else the input's.
};

// Translates subtitles and keeps their times. Sentences that go on over several cues are translated
// as one, and their translation is spread over the cues. INVALID_ARGUMENT: the input cannot be
// read, or is no subtitles, or the output is the input. Other errors are those of TranslateLines()
// and of the output.
absl::Status TranslateSubtitles(Client& client, const TranslateSubtitlesOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_SUBTITLES_H_
