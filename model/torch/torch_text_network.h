#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_TEXT_NETWORK_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_TEXT_NETWORK_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/batch.h"
#include "model/engine/text_network.h"
#include "model/torch/torch_context.h"
#include "model/torch/torch_encoder.h"
#include "model/torch/torch_layers.h"
#include "model/torch/torch_scores.h"

namespace leapstream {

// The network of a decoder alone in LibTorch's operations. Calls from several threads wait for each
// other.
class TorchTextNetwork : public TextNetwork {
 public:
  TorchTextNetwork(const TorchParameters& parameters, std::unique_ptr<const ModelConfig> config,
                   std::shared_ptr<TorchContext> context)
      : config_(std::move(config)),
        context_(std::move(context)),
        layers_(parameters, *config_, context_),
        output_(parameters, *config_) {}

  void AddTo(TransformerState* state) const override { layers_.AddTo(state); }
  absl::Status Reserve(int states) const override { return layers_.Reserve(states); }
  absl::Status Score(const SourceBatch& batch, absl::Span<const Scored> scored, Visitor visit,
                     Scratch& scratch, BetweenLayers between_layers) const override;
  absl::Status Decide(const SourceBatch& batch, absl::Span<Decision> result, Scratch& scratch,
                      BetweenLayers between_layers) const override;

 private:
  at::Tensor Encode(const SourceBatch& batch) const;  // [R, E]

  const std::unique_ptr<const ModelConfig> config_;
  const std::shared_ptr<TorchContext> context_;
  const TorchEncoder layers_;
  const TorchOutput output_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_TEXT_NETWORK_H_
