#ifndef LEAPSTREAM_CLIENT_LOAD_LOAD_H_
#define LEAPSTREAM_CLIENT_LOAD_LOAD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/client.h"

namespace leapstream::client {

struct LoadOptions {
  StreamOptions stream;  // Load() sets token_details, deadline and resume_timeout.
  int sessions = 32;
  double words_per_second = 3;  // Pace of each session.
  absl::Duration duration = absl::Seconds(10);
  // Asked all the time; null: never. Once it is true the sessions end, as if the duration were
  // over, and what is not compared yet is not compared.
  std::function<bool()> ends_now;
  bool compare_alone = true;  // Has each sentence translated alone, too, and compares the texts.
};

// Measured times, in no order.
class Latencies {
 public:
  void Add(absl::Duration latency) { all_.push_back(latency); }
  void Add(const Latencies& other) {
    all_.insert(all_.end(), other.all_.begin(), other.all_.end());
  }
  // The smallest time that `percent` of all times do not exceed; 0 if there are none.
  absl::Duration Percentile(double percent) const;

 private:
  std::vector<absl::Duration> all_;
};

struct LoadReport {
  // Sessions that ended well, and 95 % of whose tokens came before the speaker's next word was due.
  int sustained_sessions = 0;
  // Times to a token's arrival, from when the word that it waited for was due.
  Latencies first_token;  // The first token of each sentence.
  Latencies every_token;
  int64_t tokens = 0;
  int64_t sentences = 0;                // Completed sentences.
  absl::Duration elapsed;               // Time until the last session was over.
  bool ended_early = false;             // By LoadOptions::ends_now.
  double average_lagging = 0;           // Mean of the sentences, in source tokens.
  std::map<std::string, int> failures;  // Numbers of failed sessions, by reason.
  absl::Status first_failure;
  // A report for each sentence whose completed text is not its deltas, or not the server's
  // translation of it alone: the text sent and the texts that came.
  std::vector<std::string> wrong_texts;
};

// Speaks `sentences` (UTF-8, with a word at least) to the server in many sessions at once, at a
// pace that does not depend on the server's answers (an open loop). When the time is over, the open
// sentences end where they are. With `compare_alone`, the server then translates each sentence
// alone. Errors: sentences could not be translated alone. Failures of sessions are in the report.
absl::StatusOr<LoadReport> Load(Client& client, absl::Span<const std::string> sentences,
                                const LoadOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_LOAD_LOAD_H_
