#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_SUBSAMPLER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_SUBSAMPLER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"
#include "model/engine/tensor.h"

namespace leapstream {

// Convolutions over time that make one row of the encoder's width of every few frames:
// SpeechInput::frames_per_state. Const and thread-safe.
class Subsampler {
 public:
  // The memory of a segment. Each row is computed once, except for the last ones, which see zeros
  // in place of frames that have not come yet.
  class State {
   public:
    virtual ~State() = default;
    virtual void Reset() = 0;
    virtual const std::vector<float>& rows() const = 0;  // [S, E]
    virtual int64_t bytes() const = 0;
    virtual std::unique_ptr<State> Clone() const = 0;
  };
  // A test's function that is called with the name of an intermediate result, the number of its
  // first row, and its rows.
  using Observer =
      std::function<void(absl::string_view name, int64_t first_row, const Tensor& rows)>;

  virtual ~Subsampler() = default;
  virtual std::unique_ptr<State> NewState() const = 0;
  // frames: [n, bins].
  virtual void Append(absl::Span<const float> frames, State& state, Workspace& scratch,
                      const Observer& observer) const = 0;
};

// The subsampler that the configuration asks for. parameters: the encoder's. width: the encoder's,
// E.
std::unique_ptr<const Subsampler> MakeSubsampler(const Parameters& parameters,
                                                 const SpeechConfig& config, int64_t width);

// Removes the rows before row `keep` from `values`, whose first row is row *first. `width`: the
// values of a row.
void TrimRows(int64_t keep, int64_t width, std::vector<float>* values, int64_t* first);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_SUBSAMPLER_H_
