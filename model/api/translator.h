#ifndef LEAPSTREAM_MODEL_API_TRANSLATOR_H_
#define LEAPSTREAM_MODEL_API_TRANSLATOR_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace leapstream {

using TokenId = int32_t;  // A fairseq dictionary index.

// A model's memory of one segment: the recurrent states of its attention blocks. A value that
// its session owns; in at most one batch at a time, so it needs no lock.
class SessionState {
 public:
  virtual ~SessionState() = default;

  // Nothing read, nothing written. Keeps the memory, and what SetWaitK() said.
  virtual void Reset() = 0;
  // The wait-k policy of the session: target token t (from 1) waits for k + (t - 1) / write_stride
  // source tokens, of speech pre-decision steps. Unset: the policy is another one. What a wait-k
  // model without mass preservation computes can depend on it, besides on what has been read.
  virtual void SetWaitK(int /*k*/, int /*write_stride*/) {}
  // Makes `token` the target token of the step that Decide() opened last: the next Decide() feeds
  // it and decides the one after it. Until then the opened step has left no trace.
  virtual void Commit(TokenId token) = 0;
  // Makes the opened step part of the past without a token: the next Decide() feeds the same token
  // at the same position once more, and what the step added to the attention's past stays, so that
  // it is there twice. What fairseq's speech agent does for an early </s> with --force-finish.
  virtual void Repeat() = 0;

  // A copy that goes on by itself: what happens to one of the two changes nothing of the other.
  // Fed the same, both give the same, to the bit as far as the translator's results are. For a
  // state that is in no batch. RESOURCE_EXHAUSTED: there is no memory for another.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> Clone() const = 0;

  // Source tokens read, </s> included; of speech, encoder states.
  virtual int source_read() const = 0;
  virtual int target_written() const = 0;  // Target tokens committed.

  virtual int64_t bytes() const = 0;  // The memory that it has.
};

// Source for one state, in order: tokens, or for a model that takes speech, samples (see
// model/api/speech.h). None is owned.
struct SourceRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> tokens;
  absl::Span<const float> samples = {};
};

// The source and target of one state's segment so far, in order. None is owned.
struct ReplayRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> source;  // May be more than the target needs.
  absl::Span<const TokenId> target;
  absl::Span<const int> source_read;  // When target[i] was written; all of the segment counts.
};

struct ScoredToken {
  TokenId id = 0;
  float log_prob = 0;  // Natural logarithm, over the whole vocabulary.
};

struct Decision {
  // A learned policy would rather see one more source token; then there is no best and no second.
  // Never after </s> has been read.
  bool wants_source = false;
  ScoredToken best;    // Ties go to the lowest id, as in fairseq.
  ScoredToken second;  // The best of the others.
};

// Called by a Translator between the layers of a call: it may call the same Translator for
// other states. Called on the thread of the call, under no lock, never at the same time as a layer.
using BetweenLayers = absl::FunctionRef<void()>;

// One loaded checkpoint; knows nothing of sessions, clocks and threads. Const and thread-safe: all
// that changes between calls is in the states. Batching does not show: each state's results are, to
// the bit, those it would have had alone, unless a LibTorch device computes them: then up to
// rounding.
class Translator {
 public:
  virtual ~Translator() = default;

  // RESOURCE_EXHAUSTED: there is no memory for another.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> NewState() const = 0;
  // Takes memory for so many states at once, as far as their size is fixed: they will then fault no
  // page. Without it memory is taken as states are made. RESOURCE_EXHAUSTED: there is not so much.
  virtual absl::Status Reserve(int /*states*/) const { return absl::OkStatus(); }

  // Appends each entry's tokens or samples to the source of its state. A state appears once at
  // most. INVALID_ARGUMENT: a token outside the source vocabulary, tokens for a model that takes
  // speech or samples for one that does not; then no state has changed. A device that computes by
  // itself has no `between_layers`.
  virtual absl::Status Read(absl::Span<const SourceRows> rows,
                            BetweenLayers between_layers) const = 0;
  absl::Status Read(absl::Span<const SourceRows> rows) const {
    return Read(rows, [] {});
  }

  // Decides the next target token of each state, given what it has read and committed; result[b]
  // belongs to *states[b]. Calling it again without Commit() decides the same step again, as after
  // another Read(). FAILED_PRECONDITION: a state has read nothing; then no state has changed.
  virtual absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                              BetweenLayers between_layers) const = 0;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result) const {
    return Decide(states, result, [] {});
  }

  // Whether Decide() encodes all source of a state anew if it has read since (bidirectional
  // encoders): then its cost grows with what was read, not with what a READ brought.
  virtual bool encodes_anew() const { return false; }

  // Whether Replay() is there. It is not where a step changes what was before it (bidirectional
  // encoders, layers that share their past), nor where it decides what is read (learned policies).
  virtual bool can_replay() const { return false; }
  // Does what Read(), Decide() and Commit() would do by turns, with all of the source and all of
  // the target at once, and decides nothing. INVALID_ARGUMENT: see Read(), or source_read falls, is
  // 0 or more than there is; UNIMPLEMENTED: not can_replay(). Then no state has changed.
  virtual absl::Status Replay(absl::Span<const ReplayRows> /*rows*/,
                              BetweenLayers /*between_layers*/) const {
    return absl::UnimplementedError("this model takes no target at once");
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TRANSLATOR_H_
