#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/cli/hypothesis_input.h"
#include "client/cli/segmentation.h"
#include "client/cli/subtitles.h"
#include "client/client.h"

namespace leapstream::client {

struct TranslateOptions {
  StreamOptions stream;
  std::string input_file;  // "": standard input.
  Segmentation segmentation = Segmentation::kLineSentences;
  // The input is what a speech recogniser writes; nullopt: it is text.
  std::optional<HypothesisOptions> hypotheses;
  double words_per_second = 0;  // 0: words go as they come.
  std::string trace_file;       // "": no trace. See TraceWriter.
  bool json = false;
  std::optional<SubtitleFormat> subtitles;  // Unset: text or JSON.
  bool verbose = false;
};

// Streams the input through one session and writes the translation to standard output as it
// arrives. On a terminal it is shown in Lanes, and what is typed there is sent word by word. Takes
// over SIGINT (first: half-close, second: cancel), SIGTERM (cancel), SIGCONT, SIGWINCH and SIGPIPE;
// call it once per process. CANCELLED: a signal ended it. DATA_LOSS: nobody reads standard output
// any more. INVALID_ARGUMENT: also if the input is not UTF-8 or not of the recogniser's format, or a
// file cannot be opened; what stands before that is translated. Other errors are the server's
// answers.
absl::Status Translate(Client& client, const TranslateOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_
