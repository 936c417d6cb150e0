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
struct Frame;             // See model/api/frame.h.

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
  virtual absl::StatusOr<std::unique_ptr<SessionState>> Clone() const = 0;

  // The number of source tokens read, with the end of the source as one; for speech, of encoder
  // states.
  virtual int source_read() const = 0;
  virtual int target_written() const = 0;  // The number of target tokens committed.

  virtual int64_t bytes() const = 0;  // The memory that the state takes.
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

struct Decision {
  // A learned policy wants to see one more source token first; then there is no best and no second.
  // False once </s> has been read.
  bool wants_source = false;
  ScoredToken best;    // Ties go to the lowest id, as in fairseq.
  ScoredToken second;  // The best token but for that one.
};

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
  // nothing; then no state has changed.
  virtual absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                              BetweenLayers between_layers) const = 0;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result) const {
    return Decide(states, result, [] {});
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
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TRANSLATOR_H_
