#ifndef LEAPSTREAM_MODEL_ENGINE_TEXT_NETWORK_H_
#define LEAPSTREAM_MODEL_ENGINE_TEXT_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/session_state.h"
#include "model/engine/weights.h"

namespace leapstream {

// The layers and the output of a DecoderOnly, which itself does not compute. Const and thread-safe;
// only states change.
class TextNetwork {
 public:
  virtual ~TextNetwork() = default;

  // Makes the network's part of a state.
  virtual void AddTo(TransformerState* state) const = 0;
  // Takes memory for so many states at once.
  virtual absl::Status Reserve(int states) const = 0;

  struct Scored {
    int64_t row = 0;  // Of the batch.
    float temperature = 1;
    WantedScores wanted = {};
  };
  using Visitor = ScoreVisitor;  // Of scored[i].
  // Adds the rows of `batch` to the past of their states, and gives `visit` the scores behind row
  // scored[i].row for each i, in order. Rows in `scored` rise. Errors: those of the engine's
  // device.
  virtual absl::Status Score(const SourceBatch& batch, absl::Span<const Scored> scored,
                             Visitor visit, Scratch& scratch,
                             BetweenLayers between_layers) const = 0;
  // Score() of all rows; decides the token behind each.
  virtual absl::Status Decide(const SourceBatch& batch, absl::Span<Decision> result,
                              Scratch& scratch, BetweenLayers between_layers) const = 0;
};

// The network of leapstream's own kernels. INVALID_ARGUMENT: see Weights::Finish().
absl::StatusOr<std::unique_ptr<const TextNetwork>> MakeTextNetwork(const ModelConfig& config,
                                                                   Weights weights);
// The tensors that MakeTextNetwork() takes.
std::vector<TensorSpec> ListTextTensors(const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TEXT_NETWORK_H_
