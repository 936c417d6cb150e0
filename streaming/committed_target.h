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

// The part of a target that an earlier stream has put out, for the open segment of a resumed
// session. Its tokens are either forced, one in each step, or replayed, many in a turn and without
// a decision. A token is replayed only at the place where the policy would have written it. Empty
// when that segment is complete, and in all other sessions. Knows nothing of states and source.
// Used by the step thread only; not thread-safe.
class CommittedTarget {
 public:
  // Checks `from`. INVALID_ARGUMENT: no session of this model and frame can have had the target in
  // `from`.
  static absl::Status Check(const ResumeFrom& from, const Model& model, const Frame& frame);

  CommittedTarget() = default;
  // `from` must have passed Check(); its target is moved out of it. The target is replayed if the
  // model, the options and `from` allow that.
  CommittedTarget(ResumeFrom* from, const SessionOptions& options, const Model& model);

  // Whether some tokens were neither forced nor replayed yet.
  bool pending() const { return next_ < tokens_.size(); }
  // Whether some tokens are still to be replayed.
  bool replays() const { return at_once_ && pending(); }

  TokenId next() const { return tokens_[next_]; }  // REQUIRES: pending().
  void PopForced() { ++next_; }                    // Must be called when next() has been forced.

  // Whether it is known how much source had been read when each token was written.
  bool has_places() const { return !source_read_.empty(); }
  // The number of first tokens of rest() that had been written when so much source was read.
  // REQUIRES: has_places().
  int CountDue(int source_read) const;
  // Whether next() is one of these.
  bool IsDue(int source_read) const { return source_read_[next_] <= source_read; }

  // The tokens that were neither forced nor replayed yet.
  absl::Span<const TokenId> rest() const { return absl::MakeConstSpan(tokens_).subspan(next_); }

  // The way to the next replayed token.
  enum class Step {
    kNone,        // There is none: all tokens are due.
    kRead,        // The model reads another source token, since the policy wants to.
    kReadOn,      // The model reads another source token, since </s> was the best next token.
    kReplay,      // The token is replayed: see PlanReplay().
    kImpossible,  // The policy cannot have written the token after source_read source tokens.
  };
  // `progress`: the source's progress after all READs that are due. REQUIRES: replays().
  Step NextStep(Progress progress, const SessionOptions& options, const ModelInfo& model) const;
  // Makes one more token due in this turn. REQUIRES: NextStep() has returned kReplay.
  void PlanReplay() { ++due_; }
  void ForgetPlan() { due_ = 0; }  // Makes no token due.

  int due() const { return static_cast<int>(due_); }
  // The tokens that are due, and the number of source tokens that had been read for each. REQUIRES:
  // some are due.
  absl::Span<const TokenId> due_tokens() const {
    return absl::MakeConstSpan(tokens_).subspan(next_, due_);
  }
  absl::Span<const int> due_source_read() const {
    return absl::MakeConstSpan(source_read_).subspan(next_, due_);
  }
  // Must be called when the tokens that were due have been replayed.
  void ApplyReplay() {
    next_ += due_;
    due_ = 0;
  }

  void Clear();  // Must be called when the segment is complete.

  // The errors that end a session whose source or options give another target: INVALID_ARGUMENT
  // with kCommittedTargetPayload.
  absl::Status NoSegment() const;           // The session's source ended before the segment began.
  absl::Status TooMany(int written) const;  // The segment was complete before all tokens were used.
  absl::Status Impossible(const Policy& policy, int source_read) const;  // Step::kImpossible.

 private:
  bool at_once_ = false;
  std::vector<TokenId> tokens_;
  std::vector<int> source_read_;  // One for each token, or none.
  size_t next_ = 0;               // The number of tokens that were forced or replayed.
  size_t due_ = 0;                // The number of tokens from next_ on that are due in this turn.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_COMMITTED_TARGET_H_
