#ifndef LEAPSTREAM_STREAMING_SCHEDULER_H_
#define LEAPSTREAM_STREAMING_SCHEDULER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/api/model.h"
#include "streaming/session.h"
#include "streaming/state_budget.h"
#include "streaming/step_observer.h"

namespace leapstream {

// The step loop of one model: each turn it takes every session that can act, reads the source
// tokens that are due as rows of one batch, and decides the next target token of all that may write
// as rows of another. One thread; starts a turn whenever there is work. Thread-safe.
//
// Fair: sessions stand in line by the time at which they became able to act, and a turn is bounded:
// a session reads kMaxRowsPerSession tokens in it and writes one, however much it has queued; one
// that is resumed reads and replays as many. Who translates a backlog stands in a line of its own,
// whose turns give way to the live sessions' between the model's layers.
class Scheduler {
 public:
  // Starts the step thread. `observer` and `budget`, if there are any, must outlive this. When the
  // states have more memory than the budget has, the session whose state has most of it ends with
  // RESOURCE_EXHAUSTED.
  explicit Scheduler(std::shared_ptr<const Model> model, StepObserver* observer = nullptr,
                     StateBudget* budget = nullptr);
  // Ends all open sessions with UNAVAILABLE and joins the step thread.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Opens a session. `sink` must live until its OnFinished(). INVALID_ARGUMENT: options out of
  // range (k outside the model's, a negative length, ...), or committed target tokens that the
  // model does not have. RESOURCE_EXHAUSTED: no memory for its state. Then the sink is never
  // called.
  absl::StatusOr<std::shared_ptr<Session>> Open(const SessionOptions& options, SessionSink* sink,
                                                ResumeFrom from = {});

  const std::shared_ptr<const Model>& model() const;
  int open_sessions() const;
  // How much memory the states of the open sessions have.
  int64_t state_bytes() const;
  // The heartbeat: how long the present turn, with those between its layers, has taken so far; zero
  // while there is none. A turn takes milliseconds, so minutes mean that the loop hangs.
  absl::Duration turn_age() const;

  static constexpr int kMaxRowsPerSession = 16;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SCHEDULER_H_
