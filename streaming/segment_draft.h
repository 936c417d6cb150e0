#ifndef LEAPSTREAM_STREAMING_SEGMENT_DRAFT_H_
#define LEAPSTREAM_STREAMING_SEGMENT_DRAFT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model.h"
#include "model/api/translator.h"
#include "streaming/policy.h"
#include "streaming/target_units.h"

namespace leapstream {

// The drafts of a segment, one after the other, for a policy of drafts: the state of the model that
// a draft goes on with, and what is left of the draft before. After each chunk of source there is one
// look, which takes several turns: a draft is made, and its first units are written if the policy
// lets them. The result is that of making each draft anew, step by step. But a draft begins with the
// rest of the draft before as far as that is decided again, which one call of the model finds out
// (Translator::Verify()). Used by the step thread only; not thread-safe.
class SegmentDraft {
 public:
  // A policy of drafts; `end`: the token that ends a target. `model` must outlive this.
  SegmentDraft(const Policy& policy, const Model& model, TokenId end);

  void Reset();  // Begins a segment.

  struct Look {
    int source_read = 0;    // In the unit of Progress.
    int source_length = 0;  // See Progress.
    int words_ahead = 0;  // The number of source words less that of target words.
    int room = 0;         // The most tokens that may be written.
    // The target that a stream before this one has put out (see ResumeFrom) and that was not written
    // yet: the look writes its first `due` tokens whatever is drafted, and more of it, and then of
    // the draft, if `due` is all of it. due = kAsDrafted: it is not known how many are due; then the
    // look writes as many as it lets be written of the draft.
    static constexpr int kAsDrafted = -1;
    absl::Span<const TokenId> committed;
    int due = 0;
  };
  // Begins a look with `state`, the segment's. RESOURCE_EXHAUSTED: there is no memory for a copy.
  // REQUIRES: !open(), and the state has read what it is to look at.
  absl::Status Begin(const SessionState& state, const Look& look);
  // Begins the last look, once the source has been read to its end: what is left of the last draft
  // is written as far as the model decides so, `room` tokens at most, and tail_decision() is that of
  // the step after it. False: nothing is left, and there is no such look.
  bool BeginTail(SessionState* state, int room);
  const Decision& tail_decision() const { return tail_decision_; }

  bool open() const { return phase_ != Phase::kNone; }  // A look takes part in this turn.
  bool in_tail() const { return phase_ == Phase::kTail; }
  int looked() const { return looked_; }  // See Progress.

  // The parts of the next turn; valid until Advance(). The state to be decided may be null.
  SessionState* deciding() const { return deciding_; }
  absl::Span<const GivenRows> given() const { return given_; }

  // Takes the turn's results; `decision`: that of deciding(). Replaces *state by a state with more
  // target, if that is at hand. RESOURCE_EXHAUSTED: see Begin();
  // INTERNAL: the decisions are not finite.
  absl::Status Advance(const Decision* decision, std::unique_ptr<SessionState>* state);
  // The tokens that *state has been committed since the last Advance().
  absl::Span<const ScoredToken> written() const { return written_; }

  int64_t bytes() const { return state_ == nullptr ? 0 : state_->bytes(); }
  // The cost of the draft's state: see SessionState::TakeCost().
  StateCost TakeCost() { return state_ == nullptr ? StateCost() : state_->TakeCost(); }

 private:
  enum class Phase {
    kNone,
    kDraft,   // The draft goes on.
    kCommit,  // The draft is complete, and *state takes what is written of it.
    kTail,
  };

  // Tokens that are given to a state, and the decisions.
  struct Given {
    std::vector<TokenId> tokens;
    std::vector<Decision> decisions;
  };
  // Makes rows of `state` due: see GivenRows. If `forced`, no step is decided after the last token.
  void Give(SessionState* state, absl::Span<const TokenId> tokens, bool forced, Given* given);
  // Makes the next step of the draft due, and with it those that the draft before had from there on.
  void MakeStep();
  // Takes the decisions of the draft's steps. False: the draft is complete.
  bool TakeAll(const Decision* decision);
  // Whether the decisions are finite that `state`, which had `base` tokens, has taken of those given.
  bool VerifiedIsFinite(const SessionState& state, int base) const;
  void EndTail(const SessionState& state);
  // Takes the next decision. False: the draft is complete.
  bool Take(const Decision& decision);
  // Writes what the last drafts agree on, while this one goes on.
  absl::Status WriteAgreed(bool goes_on, std::unique_ptr<SessionState>* state);
  absl::Status FinishDraft(std::unique_ptr<SessionState>* state);
  // The number of tokens of the complete draft that are to be written. Puts committed tokens in the
  // place of drafted ones.
  int CountDue();
  // Brings *state to the first `count` tokens of the draft. True: it has them already, and state_ is
  // what *state was. False: it gets them in the next turn.
  bool WriteFirst(int count, std::unique_ptr<SessionState>* state);
  void PutOut(int count);  // Adds the draft's first tokens to written_.
  void FinishLook();
  // Whether the draft needs no more tokens: see MostNewTokens().
  bool IsLongEnough() const;
  int Whole(int most) const { return units_.Whole(drafted(), most, Around()); }
  TargetUnits::Around Around() const;
  TokenId Fed(TokenId id) const;  // See Model::feeds_back_symbols.
  absl::Span<const TokenId> drafted() const {
    return absl::MakeConstSpan(target_).subspan(static_cast<size_t>(before_));
  }

  const Policy policy_;
  const Model& model_;
  const TokenId end_;
  const TargetUnits units_;

  Phase phase_ = Phase::kNone;
  std::unique_ptr<SessionState> state_;  // The draft's; null: there was no look yet.
  int looked_ = 0;
  int looked_length_ = 0;      // The source_length of the last look,
  int wrote_at_ = 0;           // and of the last one that wrote something.
  std::vector<TokenId> rest_;  // What is left of the draft before.
  std::vector<int> rest_agreed_;  // See Keeps().

  // The open look:
  Look look_;
  int most_ = 0;                  // The draft's most tokens.
  int before_ = 0;                // The number of tokens written before the look.
  std::vector<TokenId> target_;   // Tokens written and drafted.
  std::vector<float> log_probs_;  // One for each drafted token.
  std::vector<int> agreed_;       // One for each drafted token: see Keeps().
  int same_ = 0;                  // The number of first drafted tokens that are those of rest_.
  TokenId next_ = 0;              // The token behind the complete draft.
  int base_ = 0;                  // The tokens that state_ had committed when the look began.
  int early_ = 0;                 // The tokens that were written while the draft went on.
  int count_ = 0;                 // The tokens that the look writes, once the draft is complete.
  int due_ = 0;                   // The tokens that given_ brings to *state.
  bool has_early_ = false;        // early_ is all that the policy lets be written.
  SessionState* deciding_ = nullptr;
  std::vector<GivenRows> given_;
  Given verified_;     // Tokens of the last draft that state_ is given; none: it decides one step.
  int verified_at_ = 0;  // The tokens that state_ had committed before.
  int verifies_ = 0;     // The number of times that state_ was given tokens in this look.
  Given taken_;          // Tokens that *state takes of the draft.
  std::vector<ScoredToken> written_;
  Decision tail_decision_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_DRAFT_H_
