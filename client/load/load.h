#ifndef LEAPSTREAM_CLIENT_LOAD_LOAD_H_
#define LEAPSTREAM_CLIENT_LOAD_LOAD_H_

#include <cstdint>
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
  StreamOptions stream;  // `token_details`, `deadline` and `resume_timeout` are set by Load().
  int sessions = 32;
  double words_per_second = 3;  // Of each session.
  absl::Duration duration = absl::Seconds(10);
};

// Times that were measured, in no order.
class Latencies {
 public:
  void Add(absl::Duration latency) { all_.push_back(latency); }
  void Add(const Latencies& other) {
    all_.insert(all_.end(), other.all_.begin(), other.all_.end());
  }
  // The smallest one that `percent` of them do not exceed; 0 if there are none.
  absl::Duration Percentile(double percent) const;

 private:
  std::vector<absl::Duration> all_;
};

struct LoadReport {
  // Ended well, and 95 % of their tokens came before the speaker's next word would have.
  int sustained_sessions = 0;
  // From when the word was due that a token waited for to the token's arrival.
  Latencies first_token;  // Of each sentence.
  Latencies every_token;
  int64_t tokens = 0;
  int64_t sentences = 0;                // That were completed.
  absl::Duration elapsed;               // Until the last session was over.
  double average_lagging = 0;           // In source tokens, mean of the sentences.
  std::map<std::string, int> failures;  // Of sessions, by reason.
  absl::Status first_failure;
  // Sentences whose completed text is not their deltas, or not what the server makes of them alone:
  // what was sent and what came.
  std::vector<std::string> wrong_texts;
};

// Speaks `sentences` (UTF-8, with a word at least) to the server in many sessions at once, at a
// pace that does not depend on its answers (an open loop), and then has it translate each of them
// alone. When the time is over the open sentences end where they are. Errors: sentences could not
// be translated alone; what happens to sessions is in the report.
absl::StatusOr<LoadReport> Load(Client& client, absl::Span<const std::string> sentences,
                                const LoadOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_LOAD_LOAD_H_
