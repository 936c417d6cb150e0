#ifndef LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"

namespace leapstream::client {

struct EvaluateCommandOptions {
  std::string source_file;  // A sentence per line, or with `speech` the path of a recording.
  bool speech = false;
  std::string target_file;  // As many lines: the references.
  std::string output_folder;
  std::string model_folder;  // If set, a server of its own is started for it.
  ClientOptions connection;  // Else this one is used.
  StreamOptions stream;      // `k` is not used.
  std::vector<int> ks;       // Empty: what `stream` says, once.
  int sessions = 64;
  double words_per_second = 3;  // See EvaluationOptions.
  bool joined_vocabulary = false;
};

// Translates the test set at each k and writes to the output folder, which it makes if need be:
//   instances.log, config.yaml  as SimulEval; in a folder k1, k3, … each if there are several k
//   scores.tsv                  a row for each k
//   curve.svg, curve.png        BLEU over AL and LAAL, a point for each k
// Prints the scores on standard output and, to a terminal, progress on standard error; there also
// which translations were cut at the server's limit. SIGINT and SIGTERM end the process, with the
// status of what is cancelled and no file half-written.
// INVALID_ARGUMENT: files that do not go together or are not UTF-8, a file that cannot be written,
// or a folder that is not empty.
absl::Status EvaluateCommand(const EvaluateCommandOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_
