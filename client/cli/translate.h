#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/segmentation.h"
#include "client/client.h"

namespace leapstream::client {

struct TranslateOptions {
  StreamOptions stream;
  std::string input_file;  // "": standard input.
  Segmentation segmentation = Segmentation::kLine;
  double words_per_second = 0;  // 0: as they come.
  std::string trace_file;       // "": none. See TraceWriter.
  bool json = false;
  bool verbose = false;
};

// Streams the input through one session and writes the translation to standard output as it
// arrives; to a terminal in Lanes, and what is typed into one is then sent word by word. Takes over
// SIGINT (first: half-close, second: cancel), SIGTERM (cancel), SIGCONT, SIGWINCH and SIGPIPE; call
// once per process. CANCELLED: by a signal. DATA_LOSS: nobody reads standard output any more.
// INVALID_ARGUMENT: also if the input is not UTF-8, or a file cannot be opened. Else what the
// server answered.
absl::Status Translate(Client& client, const TranslateOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_H_
