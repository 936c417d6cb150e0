#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_DECODER_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_DECODER_H_

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/target_steps.h"
#include "model/torch/attention/torch_attention.h"
#include "model/torch/attention/torch_monotonic.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/row_grid.h"
#include "model/torch/torch_encoder.h"
#include "model/torch/torch_layers.h"
#include "model/torch/torch_scores.h"

namespace leapstream {

// The target side of a network with an encoder: see TransformerDecoder, whose results these are up
// to rounding. Const and thread-safe, but for functions that say that they need the context's
// mutex; only states change.
class TorchDecoder {
 public:
  // parameters: the whole model's. `config` must outlive the decoder.
  TorchDecoder(const TorchParameters& parameters, const ModelConfig& config,
               std::shared_ptr<TorchContext> context);

  void AddTo(TransformerState* state) const;
  absl::Status Reserve(int states) const;

  // The functions below need the context's mutex.

  // Adds encoded rows to the cross-attention of their states.
  void Append(const TorchEncoder::Encoded& encoded) const;
  // See Translator.
  void Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
              Scratch& scratch) const;
  void Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit, Scratch& scratch) const;
  // REQUIRES: the model has no policy of its own. Returns those of `rows` that are to be verified
  // step by step: a row of theirs is not finite, which may spoil those before it. Their states have
  // not changed.
  std::vector<GivenRows> Verify(absl::Span<const GivenRows> rows, Scratch& scratch) const;

 private:
  struct Layer {
    Layer(const TorchParameters& parameters, const ModelConfig& config);
    TorchAttention self_attention;
    TorchNorm self_attention_norm;
    TorchAttention cross_attention;
    TorchNorm cross_attention_norm;
    TorchFeedForward ffn;
    TorchNorm ffn_norm;
  };
  // Rows that have gone through the layers. `self` is still to be closed.
  struct Run {
    Run(std::vector<int64_t> counts, const TorchContext& context)
        : grid(std::move(counts), context) {}
    const RowGrid grid;
    std::unique_ptr<TorchPastCall> self;
    at::Tensor x;  // [R, E], behind the last norm.
    TorchNotes notes;
  };
  // The attention of a run's rows to their source.
  struct Cross {
    std::unique_ptr<TorchPastCall> call;
    const TorchMonotonic::Moves* moves = nullptr;  // Of a learned policy.
    at::Tensor nothing;  // Whether a row reads nothing, [R, 1, 1]; undefined if none does.
  };

  std::unique_ptr<Run> RunLayers(const TargetBatch& target, TorchPast::Use use) const;
  Cross OpenCross(const TargetBatch& target, const std::vector<TransformerState*>& sessions,
                  const RowGrid& grid, TorchPast::Use use) const;
  // Runs rows that become part of the past, some at a time.
  void RunSettled(const TargetBatch& target) const;
  // Opens a step of each state, and runs the row that it feeds.
  std::unique_ptr<Run> RunSteps(size_t count, TargetSteps::StateOf state_of,
                                Scratch& scratch) const;
  // The source token to which each row attends most, as [R], in the alignment layer. Undefined: no
  // row asks for it.
  at::Tensor Attended(const TargetBatch& target, const at::Tensor& query,
                      TorchPastCall& cross) const;

  const ModelConfig& config_;
  const std::shared_ptr<TorchContext> context_;
  const TargetSteps steps_;
  const TorchEmbedding embedding_;
  std::vector<Layer> layers_;
  TorchNorm norm_;  // Undefined if there is none.
  const TorchOutput output_;
  const std::unique_ptr<const TorchPast> self_;
  const std::unique_ptr<const TorchPast> cross_;
  std::vector<int64_t> alignment_heads_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_DECODER_H_
