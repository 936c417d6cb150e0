#ifndef LEAPSTREAM_STREAMING_SCHEDULED_SESSION_H_
#define LEAPSTREAM_STREAMING_SCHEDULED_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/api/language_model.h"
#include "model/api/translator.h"
#include "streaming/inbox.h"
#include "streaming/step_observer.h"

namespace leapstream {

// A session's part in one turn of the model: reads alone, a replay with its reads, reads and a
// decision after them, the rows of a search or a draft, or rows of a text. The rows point into the
// session and are valid until its next Plan().
struct Due {
  SourceRows reads;
  ReplayRows replay;  // Its source is the source tokens of `reads`.
  SessionState* deciding = nullptr;   // The state that decides: the session's or its draft's.
  absl::Span<const GivenRows> given;  // The rows of a draft that are verified.
  absl::Span<const ScoreRow> search;  // The rows of a beam search, in place of a decision.
  TextRows text;             // Of a language model; then all of the above is empty.
  int read_count = 0;        // The number of READs in `reads`. A READ of speech may read nothing.
  int replay_count = 0;      // The number of target tokens in `replay`.
  int64_t encoder_rows = 0;  // The rows that an encoder encodes anew: see SegmentSource.
  int64_t work = 0;          // The work of planning, in units of budget::kWorkPerTurn.
  bool has_turn = false;     // The session takes part in this turn, and is queued again after it.
};

// A session as its step loop sees it: a translation (LiveSession) or a text that goes on
// (Generation). In a turn the loop calls Plan(), then RecordStep() and one of the functions for the
// model's results, as the Due asked for. All functions are for the step thread, unless their
// comments say otherwise.
class ScheduledSession : public std::enable_shared_from_this<ScheduledSession> {
 public:
  // The step loop, as its sessions see it. Outlives its sessions' last steps.
  class Loop {
   public:
    virtual ~Loop() = default;
    // Queues a session for the next turn. Called on any thread, with the lock of its inbox held.
    virtual void Enqueue(std::shared_ptr<ScheduledSession> session, Queue queue) = 0;
    // Counts the growth of one session's state.
    virtual void AddStateBytes(int64_t bytes) = 0;
    virtual StepObserver* observer() const = 0;  // May be null.
  };

  virtual ~ScheduledSession() = default;

  // --- Functions for any thread. ---

  // Ends the session within one step, with `why`.
  virtual void Cancel(absl::Status why) = 0;
  virtual int64_t state_bytes() const = 0;
  // Whether the session is over, or will be in its next turn, which then frees its state.
  virtual bool ending() const = 0;

  // --- Functions for the step thread. ---

  // Does the work that needs no model, up to about `max_work` (see budget::kWorkPerTurn), and
  // returns the session's part in this turn, of `max_rows` rows at most.
  virtual Due Plan(int max_rows, int64_t max_work) = 0;
  // Records that the model has done the session's part: the batch computed and waited for so long.
  virtual void RecordStep(absl::Duration compute, absl::Duration waited) = 0;
  virtual void Apply(const Decision& /*decision*/) {}  // Of Due::deciding.
  virtual void ApplyGiven() {}                         // Due::given, without a decision.
  virtual void ApplyReplay() {}                        // Due::replay.
  // Takes the scores of Due::search[row], or those after token `row` of Due::text. Returns whether
  // they were enough: see ScoreVisitor.
  virtual bool TakeScores(size_t /*row*/, const TokenScores& /*scores*/) { return true; }
  virtual void ApplyScores() {}  // All scores were taken.
  // Ends the session; later calls do nothing.
  virtual void Finish(absl::Status status) = 0;

  virtual bool finished() const = 0;
  virtual Queue queue() const = 0;  // The queue for the next turn.
  virtual bool grows() const = 0;   // A turn may have changed the size of the state.
  // Tells the loop how much the state has grown.
  virtual void CountState() = 0;
  // Frees the state's memory, even if others still have the session. REQUIRES: finished().
  virtual void FreeState() = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SCHEDULED_SESSION_H_
