#ifndef LEAPSTREAM_STREAMING_STEP_OBSERVER_H_
#define LEAPSTREAM_STREAMING_STEP_OBSERVER_H_

#include "absl/time/time.h"

namespace leapstream {

// One turn of the step loop, without those between its layers.
struct StepFigures {
  absl::Duration compute;     // In the model.
  int source_tokens = 0;      // Of all READs.
  int sessions_deciding = 0;  // That have one due, or tokens that are replayed.
};

// Told by the step loop what it does, on its thread: must neither block nor call back.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void OnStep(const StepFigures& step) = 0;  // Not for a turn without a batch.
  // A target token was put out so long after its session was able to act.
  virtual void OnToken(absl::Duration latency) = 0;
  // It was the first one of its segment, so long after the segment's first source.
  virtual void OnFirstToken(absl::Duration since_source) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_STEP_OBSERVER_H_
