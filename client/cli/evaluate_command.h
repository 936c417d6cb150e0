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
  std::string target_file;  // As many lines: the references.
  std::string output_folder;
  std::string model_folder;  // If set, a server of its own is started for it.
  ClientOptions connection;  // Else this one is used.
  StreamOptions stream;      // `k` is not used.
  std::vector<int> ks;       // Empty: what `stream` says, once.
  int sessions = 64;
  double words_per_second = 3;  // See EvaluationOptions.
  bool joined_vocabulary = false;
  TargetScoring scoring;             // By the references where not set: ChooseScoring().
  int start_index = 0;               // Of the first line that is evaluated, from 0.
  int end_index = -1;                // Of the first one after it that is not; -1: there is none.
  std::vector<std::string> metrics;  // See ScoreNames(); empty: all.
  bool scores = true;                // False: instances.log and config.yaml alone.
};

// Translates the test set at each k and writes to the output folder, which it makes if need be:
//   instances.log, config.yaml  as SimulEval; in a folder k1, k3, … each if there are several k
//   scores.tsv                  a row for each k
//   curve.svg, curve.png        BLEU over AL and LAAL, a point for each k
// Prints the scores on standard output and, to a terminal, progress on standard error; there also
// which translations were cut at the server's limit, and what ScoringNote() says. SIGINT and
// SIGTERM end the process, with the status of what is cancelled and no file half-written. What is
// computed is printed and written even if some of it cannot be, or a later k fails; the first error
// is returned. INVALID_ARGUMENT: files that do not go together or are not UTF-8, a range that is
// not in them, a file that cannot be opened, or a folder that is not empty. INTERNAL: a file or
// standard output that cannot be written.
absl::Status EvaluateCommand(const EvaluateCommandOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVALUATE_COMMAND_H_
