#ifndef LEAPSTREAM_STREAMING_LIVE_SESSION_H_
#define LEAPSTREAM_STREAMING_LIVE_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "model/api/model.h"
#include "streaming/committed_target.h"
#include "streaming/inbox.h"
#include "streaming/policy.h"
#include "streaming/segment_meter.h"
#include "streaming/segment_source.h"
#include "streaming/session.h"
#include "streaming/session_limits.h"
#include "streaming/session_phase.h"
#include "streaming/step_observer.h"
#include "streaming/text_sink.h"

namespace leapstream {

// A state of `model` that knows a session's policy. RESOURCE_EXHAUSTED: no memory for it.
absl::StatusOr<std::unique_ptr<SessionState>> NewState(const Model& model, const Policy& policy);

// A session's part in one turn of the model: reads alone, a replay with its reads, or reads and a
// decision after them. The rows point into the session and are good until its next Plan().
struct Due {
  SourceRows reads;
  ReplayRows replay;         // Has the source tokens of `reads` as its source.
  bool decides = false;
  int read_count = 0;        // READs of `reads`; one of speech may read nothing.
  int replay_count = 0;      // Target tokens of `replay`.
  int64_t encoder_rows = 0;  // Rows of an encoder that encodes all anew: see SegmentSource.
  int64_t work = 0;          // Work of planning, in units of budget::kWorkPerTurn.
  bool has_turn = false;     // The session takes part in this turn, and is queued again after it.
};

// One session, on its scheduler's side: brings its inputs, the policy, the model's decisions and
// its sink together, and ends it. The functions of Session run on any thread and only tell the
// inbox; all others run on the step thread, but for those that say otherwise.
class LiveSession final : public Session, public std::enable_shared_from_this<LiveSession> {
 public:
  // The step loop, as its sessions see it. Outlives their last step.
  class Loop {
   public:
    virtual ~Loop() = default;
    // Queues a session for the next turn. Called on any thread, with the lock of its inbox held.
    virtual void Enqueue(std::shared_ptr<LiveSession> session, Queue queue) = 0;
    // The state of one session has grown by so much.
    virtual void AddStateBytes(int64_t bytes) = 0;
    virtual StepObserver* observer() const = 0;  // May be null.
  };

  // `options` and `from` have been checked; `source` is made for them. `model`, `sink` and `loop`
  // must outlive the session's last step.
  struct Parts {
    SessionOptions options;
    SessionSink* sink = nullptr;
    ResumeFrom from;
    std::unique_ptr<SegmentSource> source;
    std::unique_ptr<SessionState> state;
  };
  LiveSession(Parts parts, const Model& model, Loop* loop);

  // --- Any thread. ---

  using Session::Push;
  void Push(SourceInput source, SourcePosition at) override {
    inbox_.Push(SourceChunk{std::move(source), at});
  }
  void EndSegment() override { inbox_.Push(SegmentEnd{}); }
  void EndSource() override { inbox_.Push(SourceEnd{}); }
  void Cancel(absl::Status why) override { inbox_.Cancel(std::move(why)); }
  void EndAfterSegment(absl::Status why) override { inbox_.EndAfterSegment(std::move(why)); }
  bool HasRoom() override { return inbox_.HasRoom(); }
  void Hold() override { inbox_.Hold(); }
  void Release() override { inbox_.Release(); }
  const SessionOptions& options() const override { return options_; }
  int64_t state_bytes() const { return state_bytes_.load(std::memory_order_relaxed); }

  // --- Step thread. ---

  // Does all that needs no model, as long as that is about `max_work` (see budget::kWorkPerTurn),
  // and finds what is due: reads and replayed tokens, `max_rows` at most, and a decision.
  Due Plan(int max_rows, int64_t max_work);
  // The model did what was due: its batch took so long, and waited there for other turns.
  void RecordStep(absl::Duration compute, absl::Duration waited) {
    meter_.RecordStep(compute, waited);
  }
  void Apply(const Decision& decision);
  void ApplyReplay();
  // Ends the session; later calls do nothing.
  void Finish(absl::Status status);

  bool finished() const { return phase_ == Phase::kOver; }
  Queue queue() const { return inbox_.queue(); }  // The queue for the next turn.
  // Tells the loop by how much the state has grown.
  void CountState();
  // Nobody uses the state any more, whoever still has the session. REQUIRES: finished().
  void FreeState();

 private:
  struct Segment {  // The open one.
    int64_t number = 0;
    int lag = 0;           // See Progress.
    int wanted = 0;        // See Progress.
    int skipped = 0;       // Steps that count and wrote nothing: EarlyEnd::kForceFinish.
    int after_source = 0;  // Target tokens written once the source was finished.
    // How often in a row </s> was the best next token and nothing was written, because the source
    // went on. Where that began is the source's knowledge: SegmentSource::end().
    int ends_in_a_row = 0;
    std::string text;
  };
  struct Turn {  // The present one.
    SteadyTime able_since;   // When the session became able to act.
    size_t inputs_left = 0;  // Inputs that may still be taken.
    int64_t work_left = 0;   // Less than 0 after a last piece of work that was larger.
    bool cut_short = false;  // inputs_left or work_left left something for the next turn.
    bool held = false;       // The session was held, so that nothing more was done.
    bool decides = false;
  };

  void Move(PhaseEvent event) { phase_ = Next(phase_, event); }
  // Plans until something is due or nothing more can be done without source, work or the model.
  void PlanSegments(int max_rows);
  // Does so for the open segment. False: the segment turned out to be empty, and is complete.
  bool PlanSegment(int max_rows);
  // Finds how much of the committed target can be replayed with the source that is there.
  void PlanReplay(int max_rows);
  // Fills in what is due, and tells the inbox how planning ended.
  void EndPlan(Due* due);

  // Pops the next input and applies it. False: there is none that may be applied, or the session
  // has ended. A turn takes at most as many inputs as may be queued: a client that sends empty
  // segments as fast as they are taken lets others act, too.
  bool PopInput();
  void ApplyInput(Input input);
  // Makes one more READ due, taking inputs as long as it needs them. False: there is none yet, none
  // any more, or the session has ended.
  bool NextRead();

  void OpenSegment();
  // Opens the next segment with the source that the one before left, or ends the session.
  void OpenNextSegment();
  void BeginSegment();
  void CompleteSegment(FinishReason reason);
  // Gives memory back that a long segment took, so that who is silent has no more than others.
  void ShrinkState();

  // Handles an </s> that is the best next token while the source goes on. True: nothing is written.
  bool ApplyEarlyEnd();
  void Write(ScoredToken token, bool forced);
  // Returns the text that a target token adds.
  std::string AppendToken(TokenId id, double delay);
  TokenId FedBack(TokenId id) const;  // See Model::feeds_back_symbols.

  // The progress after all READs that are due.
  Progress CurrentProgress() const;
  double Delay() const { return source_->Delay(state_->source_read()); }
  int target_limit() const;
  // No more may be written, if steps that wrote nothing count.
  bool Full() const;

  const SessionOptions options_;
  const Model& model_;
  SessionSink* const sink_;
  Loop* const loop_;  // Not used once the session is over.
  const SteadyTime opened_;
  const AgentRules agent_;

  CommittedTarget committed_;
  Inbox inbox_;

  // The step thread's.
  std::unique_ptr<SessionState> state_;
  const std::unique_ptr<SegmentSource> source_;
  TextSink text_sink_;
  SegmentMeter meter_;
  Phase phase_ = Phase::kIdle;
  Segment segment_;
  Turn turn_;
  bool unencoded_ = false;  // Source was read since the last Decide().
  std::atomic<int64_t> state_bytes_;  // Read on any thread.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_LIVE_SESSION_H_
