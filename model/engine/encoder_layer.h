#ifndef LEAPSTREAM_MODEL_ENGINE_ENCODER_LAYER_H_
#define LEAPSTREAM_MODEL_ENGINE_ENCODER_LAYER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/attention/attention.h"
#include "model/engine/batch.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/layers.h"
#include "model/engine/observer.h"
#include "model/engine/parameters.h"

namespace leapstream {

// One layer of an encoder. Const and thread-safe; only states change.
class EncoderLayer {
 public:
  virtual ~EncoderLayer() = default;
  virtual std::unique_ptr<AttentionState> NewState() const = 0;
  virtual void Reserve(int /*states*/) const {}

  // The arguments of Apply() beside the rows that it changes.
  struct Call {
    absl::Span<const AttentionRow> rows;  // The rows of one state are in order.
    StepPast past;                        // Of a causal layer.
    const std::string& name;              // The layer's name in goldens.
    const RowObserver& observer;
    Workspace& scratch;
  };
  // Replaces x [R, E] by the layer's output, and adds the rows to their states. The states of a
  // bidirectional layer are empty before.
  virtual void Apply(const Rows& x, const Call& call) const = 0;
};

// The layer that the configuration asks for. parameters: the layer's. `config` and `side` must
// outlive the layer.
std::unique_ptr<const EncoderLayer> MakeEncoderLayer(const Parameters& parameters,
                                                     const ModelConfig& config,
                                                     const SideConfig& side);

// fairseq's TransformerEncoderLayer, with any kind of attention.
class TransformerEncoderLayer : public EncoderLayer {
 public:
  TransformerEncoderLayer(const Parameters& parameters, const ModelConfig& config,
                          const SideConfig& side);

  std::unique_ptr<AttentionState> NewState() const override { return self_attention_.NewState(); }
  void Reserve(int states) const override { self_attention_.kind().Reserve(states); }
  void Apply(const Rows& x, const Call& call) const override;

 private:
  const ModelConfig& config_;
  const SideConfig& side_;
  const Attention self_attention_;
  const LayerNorm self_attention_norm_;
  const FeedForward ffn_;
  const LayerNorm ffn_norm_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ENCODER_LAYER_H_
