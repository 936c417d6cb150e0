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

// Turns samples into the rows that an encoder of speech takes in place of embeddings, in one pass
// over the audio. The rows do not depend on how the audio is cut. Const and thread-safe.
class SpeechFrontEnd {
 public:
  // The audio of one segment: its rows so far, and the samples that later rows still need.
  class State {
   public:
    virtual ~State() = default;
    virtual void Reset() = 0;
    virtual const std::vector<float>& rows() const = 0;  // [S, E]
    virtual int64_t bytes() const = 0;
    virtual std::unique_ptr<State> Clone() const = 0;
  };
  // A function that is called with the name of intermediate rows, the number of the first one, and
  // the rows.
  using Observer = std::function<void(absl::string_view, int64_t first_row, const Tensor&)>;

  virtual ~SpeechFrontEnd() = default;
  virtual std::unique_ptr<State> NewState() const = 0;
  // Appends rows to the state, and may change its last rows. `observer` is a test's, or empty.
  virtual void Append(absl::Span<const float> samples, State& state, Workspace& scratch,
                      const Observer& observer) const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
