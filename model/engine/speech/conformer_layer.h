#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONFORMER_LAYER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONFORMER_LAYER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/attention/attention.h"
#include "model/engine/encoder_layer.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/layers.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The self-attention of a conformer's layer: soft-max attention over the whole prefix, with one of
// the kinds of ConformerConfig::positions. As in fairseq, rotary positions turn the input of the
// projections of queries and keys, not their output.
class ConformerAttention {
 public:
  ConformerAttention(const Parameters& parameters, const ModelConfig& config);
  std::unique_ptr<AttentionState> NewState() const { return kind_->NewState(); }
  // Adds the result for rows x [R, E] to y.
  void Apply(const float* x, absl::Span<const AttentionRow> rows, float* y,
             Workspace& scratch) const;

 private:
  // out [R, E]: the rows x, with each head's part rotated by the row's position.
  void Rotate(const float* x, absl::Span<const AttentionRow> rows, float* out) const;

  const int64_t width_;
  const int64_t d_;  // The width of a head.
  const bool rotary_;
  const PackedLinear query_;
  const PackedLinear key_;
  const PackedLinear value_;
  const PackedLinear output_;
  const std::unique_ptr<const AttentionKind> kind_;
};

// A conformer's convolution module: a norm, a linear layer with a gated linear unit, a convolution
// over time of each channel by itself, batch norm, swish and a linear layer. The statistics of the
// batch norm are stored ones, and so it is part of the convolution's weights.
class ConvolutionModule {
 public:
  ConvolutionModule(const Parameters& parameters, const ModelConfig& config);
  // Adds the result for rows x [R, E] to y. Rows of one state are a whole prefix, in order.
  void Apply(const float* x, absl::Span<const AttentionRow> rows, float* y,
             Workspace& scratch) const;

 private:
  // Convolves the rows [begin, end) of x, which are those of one state.
  void Convolve(const float* x, int64_t begin, int64_t end, float* y) const;

  const int64_t width_;
  const int64_t kernel_;
  const LayerNorm norm_;
  const PackedLinear expand_;
  const PackedLinear contract_;
  std::vector<float> weights_;  // [kernel, E]
  std::vector<float> bias_;     // [E]
};

// fairseq's ConformerEncoderLayer: half of a feed-forward block, self-attention, the convolution
// module, half of another feed-forward block, and a norm. Every block has its norm in front. Swish
// is the activation, whatever the model's is.
class ConformerLayer : public EncoderLayer {
 public:
  ConformerLayer(const Parameters& parameters, const ModelConfig& config);

  std::unique_ptr<AttentionState> NewState() const override { return attention_.NewState(); }
  void Apply(const Rows& x, const Call& call) const override;

 private:
  struct HalfFeedForward {
    HalfFeedForward(const Parameters& parameters, const SideConfig& side)
        : norm(parameters.Under("norm"), side.embed_dim),
          ffn(parameters, side, Activation::kSwish) {}
    LayerNorm norm;
    FeedForward ffn;
  };
  void ApplyHalf(const HalfFeedForward& half, const char* golden_name, const Rows& x,
                 const Call& call) const;

  const HalfFeedForward first_;
  const LayerNorm attention_norm_;
  const ConformerAttention attention_;
  const ConvolutionModule convolution_;
  const HalfFeedForward second_;
  const LayerNorm norm_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_CONFORMER_LAYER_H_
