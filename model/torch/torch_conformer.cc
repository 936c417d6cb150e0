#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "model/torch/attention/torch_attention.h"
#include "model/torch/torch_encoder.h"

namespace leapstream {
namespace {

constexpr double kNormEpsilon = 1e-5;  // torch's default for a batch norm, which fairseq keeps.

// See ConformerAttention. There is no past: prefixes are whole.
class TorchConformerAttention {
 public:
  TorchConformerAttention(const TorchParameters& parameters, const ModelConfig& config)
      : heads_(config.encoder.attention_heads),
        d_(config.encoder.embed_dim / heads_),
        rotary_(config.speech->conformer->positions == "rotary"),
        relative_(config.speech->conformer->positions == "relative"),
        query_key_(parameters, {"query", "key"}),
        value_(parameters.Under("value")),
        output_(parameters.Under("output")) {
    const TorchContext& context = parameters.context();
    std::vector<float> frequencies;
    if (rotary_) {
      for (int64_t i = 0; i < d_ / 2; ++i) {
        frequencies.push_back(
            1.0f / std::pow(10000.0f, static_cast<float>(2 * i) / static_cast<float>(d_)));
      }
    } else if (relative_) {
      const auto width = static_cast<float>(heads_ * d_);
      for (int64_t m = 0; 2 * m < heads_ * d_; ++m) {
        frequencies.push_back(std::exp(static_cast<float>(2 * m) * -(std::log(10000.0f) / width)));
      }
      positions_ = parameters.Get("positions");
      u_ = parameters.Get("bias_u");
      v_ = parameters.Get("bias_v");
    }
    frequencies_ = context.Upload(frequencies.data(), {static_cast<int64_t>(frequencies.size())});
  }

  at::Tensor operator()(const at::Tensor& x, const TorchEncoderLayer::Call& call) const {
    const double scale = 1 / std::sqrt(static_cast<double>(d_));
    const auto heads = [&](const at::Tensor& rows) { return rows.view({rows.size(0), -1, d_}); };
    const at::Tensor both = heads(query_key_(rotary_ ? Rotated(x, call.positions) : x));
    const at::Tensor query = both.narrow(1, 0, heads_);
    TorchHeads all{query * scale, both.narrow(1, heads_, heads_), heads(value_(x))};
    at::Tensor bias;
    if (relative_) {
      all.query = (query + u_) * scale;
      bias = DistanceEnergies((query + v_) * scale, call.grid);
    }
    const at::Tensor attended = SoftmaxOfWhole(all, call.grid, bias);
    return output_(attended.reshape({x.size(0), -1}));
  }

 private:
  // The rows x, with each head's part rotated by the row's position.
  at::Tensor Rotated(const at::Tensor& x, const at::Tensor& positions) const {
    const at::Tensor angle =
        (positions.to(at::kFloat).unsqueeze(-1) * frequencies_).unsqueeze(1);  // [R, 1, d / 2]
    const at::Tensor sine = angle.sin().to(x.scalar_type());
    const at::Tensor cosine = angle.cos().to(x.scalar_type());
    const at::Tensor parts = x.view({x.size(0), heads_, d_});
    const at::Tensor one = parts.narrow(-1, 0, d_ / 2);
    const at::Tensor other = parts.narrow(-1, d_ / 2, d_ / 2);
    return at::cat({one * cosine - other * sine, other * cosine + one * sine}, -1)
        .view({x.size(0), heads_ * d_});
  }

  // The part of the energies that depends on distances, [B, H, T, T]. query: [R, H, d].
  at::Tensor DistanceEnergies(const at::Tensor& query, const RowGrid& grid) const {
    const int64_t T = grid.most();
    const int64_t width = heads_ * d_;
    const at::TensorOptions options = frequencies_.options();
    const at::Tensor distances = at::arange(T - 1, -T, -1, options);  // [2 T - 1]
    const at::Tensor angles = distances.unsqueeze(-1) * frequencies_;
    // Channel 2 m is a sine, channel 2 m + 1 a cosine.
    const at::Tensor waves =
        at::stack({angles.sin(), angles.cos()}, -1).flatten(1).narrow(1, 0, width);
    const at::Tensor rows = at::linear(waves.to(query.scalar_type()), positions_)
                                .view({2 * T - 1, heads_, d_})
                                .permute({1, 2, 0});  // [H, d, 2 T - 1]
    const at::Tensor energies = grid.Spread(query).transpose(1, 2).matmul(rows);
    // Query i and key j have the distance i - j, whose place is T - 1 - i + j.
    const at::Tensor places = at::arange(T, options.dtype(at::kLong));
    const at::Tensor place =
        (places - places.unsqueeze(-1) + (T - 1)).expand({energies.size(0), heads_, T, T});
    return energies.gather(-1, place);
  }

  const int64_t heads_;
  const int64_t d_;
  const bool rotary_, relative_;
  const TorchLinear query_key_, value_, output_;
  at::Tensor positions_;  // [E, E], of relative positions.
  at::Tensor u_, v_;      // [H, d], the same.
  at::Tensor frequencies_;
};

// See ConvolutionModule.
class TorchConvolutionModule {
 public:
  TorchConvolutionModule(const TorchParameters& parameters, const ModelConfig& config)
      : half_(config.speech->conformer->depthwise_kernel / 2),
        norm_(parameters.Under("norm")),
        expand_(parameters.Get("expand").squeeze(-1)),
        contract_(parameters.Get("contract").squeeze(-1)) {
    const TorchParameters batch_norm = parameters.Under("batch_norm");
    const at::Tensor scale =
        batch_norm.Get("weight") / (batch_norm.Get("variance") + kNormEpsilon).sqrt();
    const at::Tensor depthwise = parameters.Get("depthwise");  // [E, 1, kernel]
    weight_ = (depthwise.to(at::kFloat) * scale.view({-1, 1, 1})).to(depthwise.scalar_type());
    bias_ = (batch_norm.Get("bias") - batch_norm.Get("mean") * scale).to(depthwise.scalar_type());
  }

  at::Tensor operator()(const at::Tensor& x, const RowGrid& grid) const {
    const at::Tensor gated = at::glu(at::linear(norm_(x), expand_), -1);
    // Zeros stand before and behind each prefix.
    const at::Tensor convolved = at::conv1d(grid.Spread(gated).transpose(1, 2), weight_, bias_,
                                            /*stride=*/1, half_, /*dilation=*/1, weight_.size(0));
    return at::linear(at::silu(grid.Collect(convolved.transpose(1, 2))), contract_);
  }

 private:
  const int64_t half_;
  const TorchNorm norm_;
  const at::Tensor expand_, contract_;
  at::Tensor weight_, bias_;
};

class TorchConformerLayer : public TorchEncoderLayer {
 public:
  TorchConformerLayer(const TorchParameters& parameters, const ModelConfig& config)
      : first_norm_(parameters.Under("ffn1").Under("norm")),
        first_(parameters.Under("ffn1"), Activation::kSwish),
        attention_norm_(parameters.Under("self_attention_norm")),
        attention_(parameters.Under("self_attention"), config),
        convolution_(parameters.Under("conv"), config),
        second_norm_(parameters.Under("ffn2").Under("norm")),
        second_(parameters.Under("ffn2"), Activation::kSwish),
        norm_(parameters.Under("norm")) {}

  at::Tensor Apply(const at::Tensor& in, const Call& call) const override {
    at::Tensor x = in + first_(first_norm_(in)) * 0.5;
    x = x + attention_(attention_norm_(x), call);
    x = x + convolution_(x, call.grid);
    return norm_(x + second_(second_norm_(x)) * 0.5);
  }

 private:
  const TorchNorm first_norm_;
  const TorchFeedForward first_;
  const TorchNorm attention_norm_;
  const TorchConformerAttention attention_;
  const TorchConvolutionModule convolution_;
  const TorchNorm second_norm_;
  const TorchFeedForward second_;
  const TorchNorm norm_;
};

}  // namespace

std::unique_ptr<const TorchEncoderLayer> MakeTorchConformerLayer(const TorchParameters& parameters,
                                                                 const ModelConfig& config) {
  return std::make_unique<TorchConformerLayer>(parameters, config);
}

}  // namespace leapstream
