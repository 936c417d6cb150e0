#include "model/torch/layers.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"

namespace leapstream {
namespace {

constexpr double kLayerNormEpsilon = 1e-5;

float Activate(Activation activation, float x) {
  constexpr float kSqrtHalf = 0.70710678118654752f;
  constexpr float kSqrtTwoOverPi = 0.79788456080286536f;
  switch (activation) {
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kGelu:
      return 0.5f * x * (1 + std::erf(x * kSqrtHalf));
    case Activation::kGeluTanh:  // fairseq/modules/gelu.py, gelu_accurate
      return 0.5f * x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSwish:
      return x / (1 + std::exp(-x));
    case Activation::kLinear:
      return x;
  }
  return x;
}

}  // namespace

at::Tensor Apply(const PackedLinear& linear, const at::Tensor& x) {
  TORCH_CHECK(x.is_contiguous() && x.size(-1) == linear.in(), "want contiguous rows of width ",
              linear.in(), ", got ", x.sizes());
  at::Tensor y = at::empty({x.size(0), linear.out()}, x.options());
  linear.Apply(x.data_ptr<float>(), x.size(0), y.data_ptr<float>());
  return y;
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, kLayerNormEpsilon);
}

absl::StatusOr<Activation> ParseActivation(absl::string_view activation_fn) {
  if (activation_fn == "relu") return Activation::kRelu;
  if (activation_fn == "gelu") return Activation::kGelu;
  if (activation_fn == "gelu_fast" || activation_fn == "gelu_accurate")
    return Activation::kGeluTanh;
  if (activation_fn == "tanh") return Activation::kTanh;
  if (activation_fn == "swish") return Activation::kSwish;
  if (activation_fn == "linear") return Activation::kLinear;
  return absl::UnimplementedError(absl::StrCat(
      "activation_fn must be relu, gelu, gelu_fast, gelu_accurate, tanh, swish or linear, got ",
      activation_fn));
}

at::Tensor FeedForward::operator()(const at::Tensor& x) const {
  at::Tensor h = Apply(hidden, x);
  float* value = h.data_ptr<float>();
  // Element by element: LibTorch's vector form treats the last few of a tensor differently, so that
  // a row's result would depend on the batch.
  for (int64_t i = 0; i < h.numel(); ++i) value[i] = Activate(activation, value[i]);
  return Apply(out, h);
}

Embedding::Embedding(const Weights& weights, const ModelConfig& config, const SideConfig& side,
                     const std::string& prefix, const std::string& tokens)
    : tokens_(weights.Get(tokens)),
      positions_(side.positions),
      scale_(config.scale_embedding ? std::sqrt(static_cast<float>(side.embed_dim)) : 1.0f) {
  if (side.input_dim != side.embed_dim) project_ = weights.Matrix(prefix + ".project_in");
  if (side.layernorm_embedding) norm_ = LayerNorm(weights, prefix + ".embedding_norm");
  if (positions_ == PositionKind::kLearned) learned_ = weights.Get(prefix + ".positions");
  // In float32 step by step, as fairseq/modules/sinusoidal_positional_embedding.py computes its
  // table.
  const int half = side.embed_dim / 2;
  const float step = static_cast<float>(std::log(10000.0) / (half - 1));
  for (int i = 0; i < half; ++i) frequencies_.push_back(std::exp(static_cast<float>(i) * -step));
}

at::Tensor Embedding::operator()(absl::Span<const TokenId> tokens,
                                 absl::Span<const int> positions) const {
  const int64_t width = tokens_.size(1);
  at::Tensor x = at::empty({static_cast<int64_t>(tokens.size()), width});
  for (size_t r = 0; r < tokens.size(); ++r) {
    const float* embedding = tokens_.data_ptr<float>() + tokens[r] * width;
    float* row = x.data_ptr<float>() + r * width;
    for (int64_t i = 0; i < width; ++i) row[i] = scale_ * embedding[i];
  }
  if (project_.in() > 0) x = Apply(project_, x);
  for (size_t r = 0; r < tokens.size(); ++r) {
    AddPosition(positions[r], x.data_ptr<float>() + r * x.size(1));
  }
  return norm_.defined() ? norm_(x) : x;
}

void Embedding::AddPosition(int position, float* out) const {
  const int row = position + kPadding + 1;
  if (positions_ == PositionKind::kLearned) {
    TORCH_CHECK(row < learned_.size(0), "position ", position, " is beyond the learned table");
    const int64_t width = learned_.size(1);
    const float* learned = learned_.data_ptr<float>() + row * width;
    for (int64_t i = 0; i < width; ++i) out[i] += learned[i];
  } else if (positions_ == PositionKind::kSinusoidal) {
    const int64_t half = static_cast<int64_t>(frequencies_.size());
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(row) * frequencies_[i];
      out[i] += std::sin(angle);
      out[half + i] += std::cos(angle);
    }
  }
}

}  // namespace leapstream
