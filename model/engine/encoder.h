#ifndef LEAPSTREAM_MODEL_ENGINE_ENCODER_H_
#define LEAPSTREAM_MODEL_ENGINE_ENCODER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/encoder_layer.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/layer_stack.h"
#include "model/engine/layers.h"
#include "model/engine/observer.h"
#include "model/engine/parameters.h"
#include "model/engine/session_state.h"

namespace leapstream {

// The source side of a Transformer: turns the rows that a SourceReader gives into those for
// cross-attention. A causal encoder takes each row once; a bidirectional one encodes a prefix anew
// whenever it has grown. The layers of a language model are a causal encoder, too: a decoder
// without cross-attention is nothing else. Const and thread-safe; only states change.
class TransformerEncoder {
 public:
  // parameters: the whole model's. `config` and `observer` must outlive the encoder.
  TransformerEncoder(const Parameters& parameters, const ModelConfig& config,
                     const RowObserver& observer);

  // Makes the encoder's part of a state.
  void AddTo(TransformerState* state) const;
  // Takes memory for so many states at once.
  void Reserve(int states) const;

  // Returns the encoded batch [R, E], in memory of `scratch`; adds the rows to the encoder's
  // states.
  Rows Encode(const SourceBatch& batch, Scratch& scratch, BetweenLayers between_layers) const;

 private:
  struct Layer {
    Layer(const Parameters& parameters, const ModelConfig& config, const SideConfig& side)
        : own(MakeEncoderLayer(parameters, config, side)) {}
    std::unique_ptr<const EncoderLayer> own;
  };

  // The number of layers that have a state of their own.
  size_t states() const { return config_.causal_encoder ? stack_.layers.size() : 1; }
  // The layers' part of a state: a language model's layers are those of a decoder.
  TransformerState::AttentionStates& StatesOf(TransformerState& state) const {
    return config_.language_model.has_value() ? state.self_ : state.encoder_;
  }
  // Computes the input x [R, E] of the first layer.
  void Embed(const SourceBatch& batch, float* x, Workspace& scratch) const;

  const ModelConfig& config_;
  const SideConfig& side_;
  const RowObserver& observer_;
  const Embedding embedding_;
  const PackedLinear input_;  // A conformer's, behind the positions; otherwise without inputs.
  const LayerStack<Layer> stack_;
  const LayerNorm norm_;  // Undefined if there is none.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ENCODER_H_
