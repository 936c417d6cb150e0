#ifndef LEAPSTREAM_STREAMING_COMMITTED_TARGET_H_
#define LEAPSTREAM_STREAMING_COMMITTED_TARGET_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model.h"
#include "streaming/policy.h"
#include "streaming/session.h"

namespace leapstream {

// The target of a resumed session's open segment that an earlier stream has put out. It is either
// forced, a token a step, or replayed, many tokens a turn without a decision: then only where the
// policy would have written them. Empty when that segment is complete, and in all other sessions.
// Knows nothing of states and source. Of the step thread; not thread-safe.
class CommittedTarget {
 public:
  // INVALID_ARGUMENT: no session of this model can have had the target that `from` says.
  static absl::Status Check(const ResumeFrom& from, const Model& model);

  CommittedTarget() = default;
  // `from` is one that Check() found good; its target is moved from it. The target is replayed if
  // the model, the options and `from` allow that.
  CommittedTarget(ResumeFrom* from, const SessionOptions& options, const Model& model);

  // Some tokens were neither forced nor replayed.
  bool pending() const { return next_ < tokens_.size(); }
  // Some tokens are to be replayed.
  bool replays() const { return at_once_ && pending(); }

  TokenId next() const { return tokens_[next_]; }  // REQUIRES: pending().
  void PopForced() { ++next_; }                    // next() has been forced.

  // The way to the next replayed token.
  enum class Step {
    kNone,        // All tokens are due.
    kRead,        // The model reads another source token, as the policy says,
    kReadOn,      // or because </s> was the best next token.
    kReplay,      // The token is replayed: see PlanReplay().
    kImpossible,  // The policy cannot have written the token when it is said to have been.
  };
  // `progress`: of the source, when all READs that are due have been made. REQUIRES: replays().
  Step NextStep(Progress progress, const SessionOptions& options, const ModelInfo& model) const;
  // Makes one more token due in this turn. NextStep() said kReplay.
  void PlanReplay() { ++due_; }
  void ForgetPlan() { due_ = 0; }  // No token is due any more.

  int due() const { return static_cast<int>(due_); }
  // The tokens that are due, and how much source had been read for each. REQUIRES: there are some.
  absl::Span<const TokenId> due_tokens() const {
    return absl::MakeConstSpan(tokens_).subspan(next_, due_);
  }
  absl::Span<const int> due_source_read() const {
    return absl::MakeConstSpan(source_read_).subspan(next_, due_);
  }
  // The tokens that were due have been replayed.
  void ApplyReplay() {
    next_ += due_;
    due_ = 0;
  }

  void Clear();  // The segment is complete.

  // Why a session ends whose source or options give another target. INVALID_ARGUMENT with
  // kCommittedTargetPayload.
  absl::Status NoSegment() const;           // The session's source ended before the segment began.
  absl::Status TooMany(int written) const;  // The segment was complete before all tokens were used.
  absl::Status Impossible(const Policy& policy, int source_read) const;  // Step::kImpossible.

 private:
  bool at_once_ = false;
  std::vector<TokenId> tokens_;
  std::vector<int> source_read_;  // One for each token, if tokens are replayed.
  size_t next_ = 0;               // Tokens that were forced or replayed.
  size_t due_ = 0;                // Tokens after those that are due in this turn.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_COMMITTED_TARGET_H_
