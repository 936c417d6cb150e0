#ifndef LEAPSTREAM_MODEL_API_TRANSLATOR_H_
#define LEAPSTREAM_MODEL_API_TRANSLATOR_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace leapstream {

using TokenId = int32_t;  // A fairseq dictionary index.
struct Frame;             // See model/api/frame.h.
class LanguageModel;      // See model/api/language_model.h.

// The rows that were computed for a state, counted by both engines. Of networks that decide
// together they are those of one.
struct StateCost {
  int64_t encoder_rows = 0;  // Rows of source; a row that is encoded anew counts again.
  int64_t decoder_rows = 0;  // Rows of target, also those that were given up.

  StateCost& operator+=(const StateCost& other) {
    encoder_rows += other.encoder_rows;
    decoder_rows += other.decoder_rows;
    return *this;
  }
};

// A model's memory of one segment: the recurrent states of its attention blocks. A value that
// its session owns. It is in at most one batch at a time, so that it needs no lock.
class SessionState {
 public:
  virtual ~SessionState() = default;

  // Forgets the segment: nothing is read, nothing is written. Keeps the memory, and the values of
  // SetFrame() and SetWaitK().
  virtual void Reset() = 0;
  // Sets the frame of the session's segments, and forgets the segment. The translator itself reads
  // the frame's source_lead, before the first source token. It feeds `start` and `forced` in the
  // step that decides the first target token; all of them see the source that was read then, and a
  // step without a Commit() leaves no trace of them either. The caller reads source_tail, in one
  // Read(), where it counts as one source token; lead, start and forced count as none. Not called:
  // Frame().
  virtual void SetFrame(const Frame& frame) = 0;
  // Sets the wait-k policy of the session: target token t (from 1) waits for
  // k + (t - 1) / write_stride source tokens, or for so many pre-decision steps of speech. Not
  // called: the session has another policy. The results of a wait-k model without mass preservation
  // can depend on the policy, not only on the tokens read.
  virtual void SetWaitK(int /*k*/, int /*write_stride*/) {}
  // Asks for Decision::attended in each decision: of the layer and the heads that the model's
  // configuration names, the mean over the heads. The frame's tokens and the newest source token do
  // not count, since attention rests there if it rests on nothing. No effect: see
  // ModelInfo::shows_attention. Kept by Reset().
  virtual void ShowAttention() {}
  // Asks a bidirectional encoder's decoder to compute all rows of the committed target anew whenever
  // source has been read. Not called: each row stays as it was computed. Kept by Reset().
  virtual void RefreshPast() {}
  // Asks a bidirectional encoder to see the frame's source_tail behind a source that has not ended,
  // too. Kept by Reset().
  virtual void EndPrefixes() {}
  // Leaves the forced tokens of the segment's beginning to the caller, who commits each of them: a
  // search scores them as it scores others. No effect once a token is committed.
  virtual void LeaveForced() {}
  // Makes `token` the target token of the step that Decide() opened last: the next Decide() feeds
  // this token and decides the one after it. A step without a commit leaves no trace.
  virtual void Commit(TokenId token) = 0;
  // Makes the opened step part of the past without a token. The next Decide() feeds the same token
  // at the same position once more, so that the attention's past then has this position twice.
  // fairseq's speech agent does so on an early </s> with --force-finish.
  virtual void Repeat() = 0;

  // A copy that goes on by itself: a change of one of the two changes nothing of the other. With
  // the same input both give the same results, to the bit if the translator's results are exact in
  // that sense. The state must be in no batch. RESOURCE_EXHAUSTED: there is no memory for another.
  // The copy shares memory with the state until one of the two changes what lies there.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> Clone() const = 0;
  // Makes this state what other.Clone() would give, and keeps its own memory for later. `other` is
  // a state of the same translator; both must be in no batch. RESOURCE_EXHAUSTED: there is no
  // memory for it; then this state is good for Reset() alone.
  virtual absl::Status CopyFrom(const SessionState& other) = 0;

  // The number of source tokens read, with the end of the source as one; for speech, of encoder
  // states.
  virtual int source_read() const = 0;
  virtual int target_written() const = 0;  // The number of target tokens committed.

  // Takes over what `other` has encoded. REQUIRES: both have read the same source, and `other` was
  // made of this state by Clone() or CopyFrom(). No effect: a translator that does not encode anew.
  virtual void TakeEncoded(const SessionState& /*other*/) {}

  // The rows that were computed for this state since the last call. Reset() and CopyFrom() do not
  // change their number; a copy begins with none.
  virtual StateCost TakeCost() { return {}; }

  // The memory that the state takes. Memory that n states share counts as an nth in each.
  virtual int64_t bytes() const = 0;
};

// New source of one state, in order: tokens, or samples if the model takes speech (see
// model/api/speech.h). Nothing is owned.
struct SourceRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> tokens;
  absl::Span<const float> samples = {};
};

// New source and target of one state, in order. Nothing is owned.
struct ReplayRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> source;  // May be more than the target needs.
  absl::Span<const TokenId> target;
  // source_read[i]: the source tokens that had been read when target[i] was written, counted from
  // the segment's start.
  absl::Span<const int> source_read;
};

struct ScoredToken {
  TokenId id = 0;
  float log_prob = 0;  // Natural logarithm, over the whole vocabulary.
};

inline constexpr int kNoSource = -1;

// Numbers of a state that are not finite, as after an overflow, show in its own results alone: the
// others of its batch stay good. This is the error of a session that gets such a result.
absl::Status NotFiniteError();

struct Decision {
  // A learned policy wants to see one more source token first; then there is no best and no second.
  // False once </s> has been read.
  bool wants_source = false;
  ScoredToken best;    // Ties go to the lowest id, as in fairseq.
  ScoredToken second;  // The best token but for that one.
  // The source token (from 0) to which the step attends most: see SessionState::ShowAttention().
  // kNoSource: it was not asked for, or nothing but the newest source token has been read.
  int attended = kNoSource;

  bool finite() const { return std::isfinite(best.log_prob); }
};

// Target tokens that may follow those that a state has committed. Nothing is owned.
struct GivenRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> tokens;
  int forced = 0;       // The number of first `tokens` that are committed whatever is decided.
  bool decides = true;  // The step after the last token is decided, too.
  // The decisions: [tokens.size() + 1]. Decision i is of the step after the first i tokens.
  absl::Span<Decision> decisions;
};

// The log-probabilities of the tokens in one step of one state: of all N tokens, or of those that
// were asked for.
struct TokenScores {
  absl::Span<const float> logits;      // Divided by the temperature, or log-probabilities.
  absl::Span<const TokenId> ids = {};  // The token of each logit, rising; empty: all tokens.
  float most = 0;                      // The largest logit of all tokens.
  float log_sum = 0;                   // ln of the sum of exp(logit - most) over all tokens.
  // No token that is not here has a larger logit than this one. -infinity: all are here.
  float rest = -std::numeric_limits<float>::infinity();
  // See WantedScores::weight_at. Where all tokens are here, these are not given.
  double weights = 0;         // The sum of all weights.
  TokenId reached = -1;       // The token with which WantedScores::part is reached.
  double weights_before = 0;  // The sum of the weights of the tokens before that one.

  bool has_all() const { return ids.empty() && rest == -std::numeric_limits<float>::infinity(); }
  TokenId id(size_t place) const { return ids.empty() ? static_cast<TokenId>(place) : ids[place]; }
  // The place of a token's logit; logits.size(): it is not here.
  size_t place(TokenId id) const {
    if (ids.empty()) return std::min(static_cast<size_t>(static_cast<uint32_t>(id)), logits.size());
    const auto found = std::lower_bound(ids.begin(), ids.end(), id);
    return found != ids.end() && *found == id ? static_cast<size_t>(found - ids.begin())
                                              : logits.size();
  }
  // The natural logarithm of the probability of a token with this logit, rounded as torch's
  // log_softmax rounds it.
  float log_prob_of(float logit) const { return (logit - most) - log_sum; }
  // REQUIRES: the token is here.
  float log_prob(TokenId id) const { return log_prob_of(logits[place(id)]); }
  // False: there may be no number among the logits, and no probability is to be asked for.
  bool finite() const { return std::isfinite(most) && std::isfinite(log_sum); }
};

// The scores that the visitor of a row needs. It may get more, up to all: a device copies no more
// than these from its memory, as far as that is simple. Nothing is owned.
struct WantedScores {
  static constexpr int kAll = std::numeric_limits<int>::max();

  int best = kAll;                        // The scores of the best so many tokens,
  absl::Span<const TokenId> tokens = {};  // and of these.
  // If positive, each token has the weight exp((logit - most) / weight_at), but for `tokens`, which
  // have none, and sums of weights are wanted. A sum may be wrong by kWeightTolerance of all.
  double weight_at = 0;
  static constexpr double kWeightTolerance = 1e-11;
  // If positive, with weight_at: the score of the first token with which the sum of the weights, in
  // the order of ids, reaches this part of all is wanted, too.
  double part = 0;
};

// One state to be scored. Nothing is owned.
struct ScoreRow {
  SessionState* state = nullptr;
  float temperature = 1;  // The logits are divided by it. Positive.
  WantedScores wanted = {};
};

// A function that gets the scores of row `row` of a call. They are valid until it returns. Returns
// whether they were enough: otherwise it is called once more, with those of all tokens, which are.
using ScoreVisitor = absl::FunctionRef<bool(size_t row, const TokenScores& scores)>;

// A function that a Translator calls between the layers of a call. The function may call the same
// Translator for other states. It runs on the thread of the call, under no lock, and never at the
// same time as a layer.
using BetweenLayers = absl::FunctionRef<void()>;

// One loaded checkpoint, which knows nothing of sessions, clocks and threads. Const and
// thread-safe: only the states change between calls. Batching does not change results: each state's
// results are, to the bit, those that it would have had alone. (On a LibTorch device they are the
// same up to rounding.)
class Translator {
 public:
  virtual ~Translator() = default;

  // The state of a new session. RESOURCE_EXHAUSTED: there is no memory for another.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> NewState() const = 0;
  // Takes memory for so many states at once, as far as their size is fixed, so that making them
  // causes no page fault. Without this call memory is taken as states are made. RESOURCE_EXHAUSTED:
  // there is not so much memory.
  virtual absl::Status Reserve(int /*states*/) const { return absl::OkStatus(); }

  // Appends each entry's tokens or samples to the source of its state. A state appears once at
  // most. INVALID_ARGUMENT: a token is outside the source vocabulary, or a model that takes speech
  // gets tokens, or another model samples; then no state has changed. A LibTorch device never calls
  // `between_layers`.
  virtual absl::Status Read(absl::Span<const SourceRows> rows,
                            BetweenLayers between_layers) const = 0;
  absl::Status Read(absl::Span<const SourceRows> rows) const {
    return Read(rows, [] {});
  }

  // Decides the next target token of each state, from the source that it has read and the tokens
  // that it has committed. result[b] belongs to *states[b]. A second call without a Commit()
  // decides the same step again, with the source read since. FAILED_PRECONDITION: a state has read
  // nothing; then no state has changed. Whether a decision is finite() is for the caller to see.
  virtual absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                              BetweenLayers between_layers) const = 0;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result) const {
    return Decide(states, result, [] {});
  }

  // Decides steps whose tokens are likely known: does what Decide() and Commit() by turns do, as
  // long as the decided token is the given one, and gives the decisions. Stops after the first
  // decision that is another token, which is not committed: its step is open. A state appears once
  // at most. Decisions of forced tokens may be left out. Errors: those of Decide(); UNIMPLEMENTED: the
  // model has a policy of its own.
  virtual absl::Status Verify(absl::Span<const GivenRows> rows, BetweenLayers between_layers) const;
  absl::Status Verify(absl::Span<const GivenRows> rows) const {
    return Verify(rows, [] {});
  }

  // Decide() for a search: gives `visit` the scores of each row's next target token, rows in order,
  // on the thread of the call. It opens steps as Decide() does. FAILED_PRECONDITION: see Decide();
  // UNIMPLEMENTED: the translator has no such scores. REQUIRES: with a learned policy, the states
  // have read their source's end.
  virtual absl::Status Score(absl::Span<const ScoreRow> /*rows*/, ScoreVisitor /*visit*/,
                             BetweenLayers /*between_layers*/) const {
    return absl::UnimplementedError("this model gives no scores of all tokens");
  }
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit) const {
    return Score(rows, visit, [] {});
  }

  // Whether Decide() encodes a state's whole source anew if the state has read since the last
  // Decide(), as bidirectional encoders do. Its cost then grows with the length of the source, not
  // with the length of a READ.
  virtual bool encodes_anew() const { return false; }

  // Whether Replay() is implemented. It is not if a step changes the past before it (bidirectional
  // encoders, layers that share their past) or decides how much source is read (learned policies).
  virtual bool can_replay() const { return false; }
  // Takes all of a source and all of its target at once, and decides nothing. Leaves the states
  // that Read(), Decide() and Commit() by turns would leave. INVALID_ARGUMENT: see Read(), or
  // source_read falls, is 0, or is more than the source; UNIMPLEMENTED: can_replay() is false. Then
  // no state has changed.
  virtual absl::Status Replay(absl::Span<const ReplayRows> /*rows*/,
                              BetweenLayers /*between_layers*/) const {
    return absl::UnimplementedError("this model takes no target at once");
  }

  // The model as one that goes on with texts, which is a part of this object. Null: it is none.
  virtual const LanguageModel* language_model() const { return nullptr; }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TRANSLATOR_H_
