#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_TRANSFORMER_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_TRANSFORMER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/observer.h"
#include "model/engine/source_reader.h"
#include "model/torch/torch_context.h"
#include "model/torch/torch_decoder.h"
#include "model/torch/torch_encoder.h"
#include "model/torch/torch_layers.h"

namespace leapstream {

// Transformer in LibTorch's operations, on any device that LibTorch has. Its results are
// Transformer's up to rounding. It is for GPUs, and to compare Transformer with.
//
// The states of all sessions lie side by side on the device, so that a batch takes a few operations
// for all of its sessions together. Calls from several threads wait for each other. Unlike other
// translators' results, these depend on the batch, by rounding errors.
class TorchTransformer : public Translator {
 public:
  // The parts that need a model's weights. The front end of speech computes on the processor.
  struct Parts {
    std::unique_ptr<const ModelConfig> config;  // What the parts refer to.
    std::unique_ptr<const RowObserver> observer;
    std::unique_ptr<const SourceReader> reader;
    std::shared_ptr<TorchContext> context;
  };
  TorchTransformer(Parts parts, const TorchParameters& parameters)
      : parts_(std::move(parts)),
        encoder_(parameters, *parts_.config, parts_.context),
        decoder_(parameters, *parts_.config, parts_.context) {}

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;
  bool encodes_anew() const override { return !parts_.config->causal_encoder; }
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override;
  absl::Status Verify(absl::Span<const GivenRows> rows,
                      BetweenLayers between_layers) const override;

 private:
  // Encodes prefixes that have changed, if the encoder is bidirectional.
  void EncodePrefixes(absl::Span<SessionState* const> states, Scratch& scratch) const;
  void Encode(const SourceBatch& batch) const;

  const Parts parts_;
  const TorchEncoder encoder_;
  const TorchDecoder decoder_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_TRANSFORMER_H_
