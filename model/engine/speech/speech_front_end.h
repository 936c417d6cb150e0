#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/tensor.h"

namespace leapstream {

// From samples to the rows that an encoder of speech takes in place of embeddings: one pass over
// the audio, however it is cut. Const and thread-safe.
class SpeechFrontEnd {
 public:
  // One segment's audio: its rows so far, and as much of the samples as later rows need.
  class State {
   public:
    virtual ~State() = default;
    virtual void Reset() = 0;
    virtual const std::vector<float>& rows() const = 0;  // [S, E]
    virtual int64_t bytes() const = 0;
    virtual std::unique_ptr<State> Clone() const = 0;
  };
  // Is called with intermediate rows by their name, and the number of the first one.
  using Observer = std::function<void(absl::string_view, int64_t first_row, const Tensor&)>;

  virtual ~SpeechFrontEnd() = default;
  virtual std::unique_ptr<State> NewState() const = 0;
  // Appends to the state's rows; the last of its rows may change, too. `observer` is a test's, or
  // empty.
  virtual void Append(absl::Span<const float> samples, State& state, Workspace& scratch,
                      const Observer& observer) const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
