#ifndef LEAPSTREAM_STREAMING_SCHEDULER_H_
#define LEAPSTREAM_STREAMING_SCHEDULER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/api/model.h"
#include "streaming/generation.h"
#include "streaming/session.h"
#include "streaming/state_budget.h"
#include "streaming/step_observer.h"

namespace leapstream {

// The step loop of one model. In each turn it takes the sessions that can act, reads the source
// tokens that are due as rows of one batch, and decides the next target tokens of the sessions that
// may write as rows of another batch. It has one thread, which starts a turn whenever there is
// work. Thread-safe.
//
// The loop is fair. Sessions stand in line by the time at which they became able to act, and a turn
// is bounded: in a turn a session reads at most kMaxRowsPerSession tokens and writes one, however
// much it has queued. (A resumed session reads and replays so many tokens together.) Sessions with
// a backlog stand in a line of their own, whose turns give way to those of live sessions between
// the model's layers.
class Scheduler {
 public:
  // Starts the step thread. `observer` and `budget`, if not null, must outlive this. When the
  // states take more memory than the budget, the session with the largest state ends with
  // RESOURCE_EXHAUSTED.
  // `glossary`: see glossary().
  explicit Scheduler(std::shared_ptr<const Model> model, StepObserver* observer = nullptr,
                     StateBudget* budget = nullptr,
                     std::shared_ptr<const Glossary> glossary = nullptr);
  // Ends all open sessions with UNAVAILABLE and joins the step thread.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Opens a session. `sink` must live until its OnFinished(). INVALID_ARGUMENT: options out of
  // range (k outside the model's, a negative length, another model's languages, ...), or committed
  // target tokens that the model does not have. RESOURCE_EXHAUSTED: there is no memory for the
  // session's state. After an error the sink is never called.
  absl::StatusOr<std::shared_ptr<Session>> Open(const SessionOptions& options, SessionSink* sink,
                                                ResumeFrom from = {});

  // Opens a text, which begins with Generation::Start(). `sink` must live until its OnFinished().
  // INVALID_ARGUMENT: see CheckGeneration(); RESOURCE_EXHAUSTED: as above. After an error the sink
  // is never called.
  absl::StatusOr<std::shared_ptr<Generation>> Open(GenerationRequest request,
                                                   GenerationSink* sink);

  const std::shared_ptr<const Model>& model() const;
  // The glossary for sessions of the model that bring none; null: there is none. The scheduler only
  // keeps it.
  const std::shared_ptr<const Glossary>& glossary() const { return glossary_; }
  int open_sessions() const;
  // The memory that the states of the open sessions take.
  int64_t state_bytes() const;
  // The loop's heartbeat: the time that the present turn, with the turns between its layers, has
  // taken so far; zero if there is none. A turn takes milliseconds, so minutes mean that the loop
  // hangs.
  absl::Duration turn_age() const;

  static constexpr int kMaxRowsPerSession = 16;

 private:
  class Loop;
  const std::shared_ptr<const Glossary> glossary_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SCHEDULER_H_
