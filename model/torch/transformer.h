#ifndef LEAPSTREAM_MODEL_TORCH_TRANSFORMER_H_
#define LEAPSTREAM_MODEL_TORCH_TRANSFORMER_H_

#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_directory.h"
#include "model/api/translator.h"
#include "model/torch/attention/leap_attention.h"
#include "model/torch/layers.h"
#include "model/torch/weights.h"

namespace leapstream {

// A causal encoder-decoder whose three attention blocks are all LeaP, so that a segment's past is a
// state of fixed size: fairseq's transformer_monotonic with --enc/dec-sa/dec-ca-leapformer-enable.
class LeapTransformer : public Translator {
 public:
  // UNIMPLEMENTED: a configuration that is not of this kind. Throws c10::Error on broken weights.
  static absl::StatusOr<std::unique_ptr<LeapTransformer>> Create(const ModelConfig& config,
                                                                 Weights weights);

  std::unique_ptr<SessionState> NewState() const override;
  absl::Status Read(absl::Span<const SourceRows> rows) const override;
  absl::Status Decide(absl::Span<SessionState* const> states,
                      absl::Span<Decision> result) const override;

  int64_t state_bytes() const;

  // Called with intermediate rows by their golden name ("enc.0.self_attn", "logits", ...). For
  // tests; set before the model is shared.
  using Observer = std::function<void(absl::string_view name, const at::Tensor& rows)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  // The sums of a decoder layer's self-attention with the newest position in: [H, 2 d d + 2 d].
  at::Tensor DecoderSelfAttentionState(const SessionState& state, int layer) const;

 private:
  struct EncoderLayer {
    EncoderLayer(const Weights& weights, const std::string& name, const ModelConfig& config,
                 Activation activation);
    LeapAttention self_attention;
    LayerNorm self_attention_norm;
    FeedForward ffn;
    LayerNorm ffn_norm;
    int64_t state_offset = 0;
  };
  struct DecoderLayer {
    DecoderLayer(const Weights& weights, const std::string& name, const ModelConfig& config,
                 Activation activation);
    LeapAttention self_attention;
    LayerNorm self_attention_norm;
    LeapAttention cross_attention;
    LayerNorm cross_attention_norm;
    FeedForward ffn;
    LayerNorm ffn_norm;
    int64_t self_offset = 0;
    int64_t cross_offset = 0;
  };
  class State;

  LeapTransformer(const ModelConfig& config, Weights owned_weights, Activation activation);
  void Observe(absl::string_view name, const at::Tensor& rows) const {
    if (observer_) observer_(name, rows);
  }
  void ObserveLayer(absl::string_view side, size_t layer, absl::string_view what,
                    const at::Tensor& rows) const;

  const ModelConfig config_;
  const Weights weights_;  // Before all that points into its memory map.
  Embedding source_embedding_;
  Embedding target_embedding_;
  LayerNorm embedding_norm_;
  std::vector<EncoderLayer> encoder_;
  LayerNorm encoder_norm_;
  std::vector<DecoderLayer> decoder_;
  LayerNorm decoder_norm_;
  PackedLinear output_;
  int64_t state_floats_ = 0;
  Observer observer_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TRANSFORMER_H_
