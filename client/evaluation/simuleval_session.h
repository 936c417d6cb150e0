#ifndef LEAPSTREAM_CLIENT_EVALUATION_SIMULEVAL_SESSION_H_
#define LEAPSTREAM_CLIENT_EVALUATION_SIMULEVAL_SESSION_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/evaluation/latency_unit.h"
#include "client/evaluation/piece_counter.h"
#include "metrics/word_timing.h"

namespace leapstream::client {

// One sentence as SimulEval's evaluator drives it: words go in, and after each, Pop() returns the
// new part of the translation, in the units of --eval-latency-unit. It is one gRPC session and
// knows nothing of HTTP. Not thread-safe.
//
// The evaluator takes a word's delay to be the number of source words that it has sent when it gets
// the word. So Pop() must not return before the server has written all that it can with the source
// that it has. The server does not say when it waits for source. Under wait-k that follows from the
// last token: the next one needs at least one more source token. Where that does not settle it (a
// learned policy, an early </s> that made the server read on), and nothing comes for a moment, the
// source so far is translated once more as a segment that ends there. The tokens that this
// translation has before it reads </s> are those that the server writes now. So timing never
// changes a result.
class SimulEvalSession {
 public:
  // `client` and `pieces` must outlive it.
  SimulEvalSession(Client* client, PieceCounter* pieces, const StreamOptions& options,
                   LatencyUnit unit);

  // Sends the next words; `finished`: the sentence ends with them. Words after the end are ignored.
  absl::Status Push(absl::string_view text, bool finished);

  struct Output {
    // Complete words or pieces with one space between them, or characters as they came; may be
    // empty.
    std::string text;
    bool finished = false;
  };
  // Returns the units written since the last call. RESOURCE_EXHAUSTED: the sentence is longer than
  // the server takes. Other errors are the server's.
  absl::StatusOr<Output> Pop();

 private:
  // The state of the translation by the events so far.
  struct Progress {
    bool started = false;
    std::optional<int> k;  // The k of wait-k, in source tokens.
    bool offline = false;
    int tokens = 0;  // Written tokens.
    int last_read = 0;
    bool completed = false;
    bool source_dropped = false;
  };
  void Take(const Event& event);
  bool IsSurelyBlocked() const;
  // Finds the tokens that can be written before more source comes, and whether the segment can end.
  absl::StatusOr<Progress> Foresee();
  // Waits for an event; false: none came within `timeout`.
  bool WaitForEvent(absl::Duration timeout) const;

  Client* const client_;
  PieceCounter* const counter_;
  const StreamOptions options_;
  const LatencyUnit unit_;
  std::unique_ptr<Stream> stream_;
  std::vector<int> counts_;  // Pieces of each source word.
  std::string source_;       // All words so far, one space after each.
  bool source_finished_ = false;
  Progress progress_;
  metrics::TargetWords target_;
  std::string text_;  // Complete units that Pop() has not returned.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_SIMULEVAL_SESSION_H_
