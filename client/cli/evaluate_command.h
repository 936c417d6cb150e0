#ifndef LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/evaluation/latency_unit.h"

namespace leapstream::client {

struct EvaluateCommandOptions {
  std::string source_file;  // A sentence per line, or with `speech` the path of a recording.
  bool speech = false;
  std::string target_file;  // The references, a line for each source.
  std::string output_folder;
  std::string model_folder;  // If set, a server of our own is started for it.
  ClientOptions connection;  // The server to use if model_folder is not set.
  StreamOptions stream;      // Its policy is not used.
  std::vector<Policy> policies = {Policy()};  // A run for each; at least one.
  int sessions = 64;
  double words_per_second = 3;  // See EvaluationOptions.
  bool joined_vocabulary = false;
  TargetScoring scoring;  // Unset members follow from the references: ChooseScoring().
  int start_index = 0;    // Index of the first line to evaluate, from 0.
  int end_index = -1;     // Index after the last line to evaluate; -1: no line is left out.
  std::vector<std::string> metrics;  // See ScoreNames(); empty: all.
  bool scores = true;                // False: only instances.log and config.yaml.
};

// Translates the test set with each policy and writes to the output folder, which it makes if need
// be:
//   instances.log, config.yaml  as SimulEval; in folders such as k1, k3, la2 if there are several
//   scores.tsv                  a row for each policy
//   curve.svg, curve.png        BLEU and chrF over AL and LAAL, a point for each policy
// Prints the scores, and with several policies a table of them, on standard output. Standard error
// has the translations that were cut at the server's limit, the text of ScoringNote(), and on a
// terminal the progress. SIGINT and SIGTERM end the process with the exit status of a cancelled
// run, and leave no file half-written. Results are printed and written even if some of them cannot
// be, or if a later policy fails; the first error is returned. INVALID_ARGUMENT: files do not go
// together or are not UTF-8, the range is not in them, a file cannot be opened, or the folder is
// not empty. INTERNAL: a file or standard output cannot be written.
absl::Status EvaluateCommand(const EvaluateCommandOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_
