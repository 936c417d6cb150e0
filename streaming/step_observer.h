#ifndef LEAPSTREAM_STREAMING_STEP_OBSERVER_H_
#define LEAPSTREAM_STREAMING_STEP_OBSERVER_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace leapstream {

// Figures of one turn of the step loop, without the turns between its layers.
struct StepFigures {
  absl::Duration compute;     // The time in the model.
  int source_tokens = 0;      // The source tokens of all READs.
  int sessions_deciding = 0;  // The sessions with a decision, or with tokens that are replayed.
};

// An observer of the step loop. It is called on the loop's thread, and must neither block nor call
// the loop.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void OnStep(const StepFigures& step) = 0;  // Not called for a turn without a batch.
  // A target token was put out. `latency`: the time since its session was able to act.
  virtual void OnToken(absl::Duration latency) = 0;
  // The token was the first one of its segment. `since_source`: the time since the segment's first
  // source.
  virtual void OnFirstToken(absl::Duration since_source) = 0;
  // A turn ends its `sessions`, since there was no memory for its batch. `why`: the model's words.
  virtual void OnNoMemory(absl::string_view why, int sessions) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_STEP_OBSERVER_H_
