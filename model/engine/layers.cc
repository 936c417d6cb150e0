#include "model/engine/layers.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"

namespace leapstream {
namespace {

float Activate(Activation activation, float x) {
  constexpr float kSqrtHalf = 0.70710678118654752f;
  constexpr float kSqrtTwoOverPi = 0.79788456080286536f;
  switch (activation) {
    case Activation::kRelu:
      return x < 0 ? 0 : x;  // NaN stays NaN.
    case Activation::kGelu:
      return 0.5f * x * (1 + std::erf(x * kSqrtHalf));
    case Activation::kGeluTanh:  // The formula is from fairseq/modules/gelu.py, gelu_accurate.
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

void LayerNorm::Apply(const float* x, int64_t rows, float* y) const {
  const auto width = static_cast<int64_t>(weight_.size());
  for (int64_t r = 0; r < rows; ++r) {
    Simd().layer_norm(x + r * width, width, weight_.data(), bias_.data(), y + r * width);
  }
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

void MultiplyBySigmoid(const float* x, const float* gate, int64_t count, float* y) {
  constexpr int64_t kTogether = 256;
  float exponentials[kTogether] = {};
  for (int64_t begin = 0; begin < count; begin += kTogether) {
    const int64_t some = std::min(kTogether, count - begin);
    for (int64_t i = 0; i < some; ++i) exponentials[i] = -gate[begin + i];
    // Whole vectors only, so that a number's place does not matter.
    Simd().sum_exp(exponentials, (some + kPanel - 1) / kPanel * kPanel, 0, exponentials);
    for (int64_t i = 0; i < some; ++i) y[begin + i] = x[begin + i] / (1 + exponentials[i]);
  }
}

void FeedForward::Apply(const float* x, int64_t rows, float* y, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* h = scratch.Floats(rows * hidden_.out());
  if (activation_ == Activation::kRelu) {
    hidden_.Apply(x, rows, h, scratch, Epilogue::kRelu);
  } else {
    hidden_.Apply(x, rows, h, scratch);
    if (activation_ == Activation::kSwish) {
      MultiplyBySigmoid(h, h, rows * hidden_.out(), h);
    } else {
      for (int64_t i = 0; i < rows * hidden_.out(); ++i) h[i] = Activate(activation_, h[i]);
    }
  }
  out_.Apply(h, rows, y, scratch, Epilogue::kAdd);
}

std::vector<float> SinusoidalFrequencies(int64_t width) {
  // Each operation rounds to float32.
  const int64_t half = width / 2;
  const float step = static_cast<float>(std::log(10000.0) / static_cast<double>(half - 1));
  std::vector<float> frequencies;
  for (int64_t i = 0; i < half; ++i) {
    frequencies.push_back(std::exp(static_cast<float>(i) * -step));
  }
  return frequencies;
}

Embedding::Embedding(RowTable tokens, const Parameters& parameters, const SideConfig& side,
                     const ModelConfig& config)
    : tokens_(std::move(tokens)),
      positions_(side.positions),
      scale_(config.scale_embedding ? std::sqrt(static_cast<float>(side.embed_dim)) : 1.0f),
      width_(side.embed_dim) {
  if (config.language_model.has_value()) {
    adaptive_ = AdaptiveInput(parameters, config.language_model->adaptive_input, width_);
  }
  if (side.input_dim != side.embed_dim) {
    project_ = parameters.Matrix("project_in", {width_, side.input_dim});
  }
  if (side.layernorm_embedding) norm_ = LayerNorm(parameters.Under("embedding_norm"), width_);
  if (positions_ == PositionKind::kLearned) {
    // fairseq's table begins with two rows that no position has.
    learned_ = parameters.Table("positions", {int64_t{side.max_positions} + kPadding + 1, width_});
  }
  frequencies_ = SinusoidalFrequencies(side.embed_dim);
  // Sines and cosines of most rows that there ever are, since computing them takes longer than all
  // else that is done for an embedding.
  if (positions_ != PositionKind::kSinusoidal || !parameters.have_values()) return;
  sinusoidal_.resize(kSinusoidalRows * width_);
  for (int64_t row = 0; row < kSinusoidalRows; ++row) {
    AddSinusoids(row, sinusoidal_.data() + row * width_);
  }
}

void Embedding::Apply(absl::Span<const TokenId> tokens, absl::Span<const int> positions, float* out,
                      Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto rows = static_cast<int64_t>(tokens.size());
  float* x = project_.in() > 0 ? scratch.Floats(rows * project_.in()) : out;
  ReadTokens(tokens, x, scratch);
  if (project_.in() > 0) project_.Apply(x, rows, out, scratch);
  float* position = learned_.rows() > 0 ? scratch.Floats(width_) : nullptr;
  for (int64_t r = 0; r < rows; ++r) AddPosition(positions[r], position, out + r * width_);
  if (norm_.defined()) norm_.Apply(out, rows, out);
}

void Embedding::ReadTokens(absl::Span<const TokenId> tokens, float* out,
                           Workspace& scratch) const {
  const auto rows = static_cast<int64_t>(tokens.size());
  const int64_t in = adaptive_.defined() ? width_ : tokens_.width();
  if (adaptive_.defined()) {
    adaptive_.Apply(tokens, out, scratch);
  } else {
    for (int64_t r = 0; r < rows; ++r) tokens_.Read(tokens[r], out + r * in);
  }
  for (int64_t i = 0; i < rows * in; ++i) out[i] *= scale_;
}

void Embedding::ApplyToRows(absl::Span<const int> positions, float* x, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* position = learned_.rows() > 0 ? scratch.Floats(width_) : nullptr;
  for (size_t r = 0; r < positions.size(); ++r) {
    float* row = x + static_cast<int64_t>(r) * width_;
    for (int64_t i = 0; i < width_; ++i) row[i] *= scale_;
    AddPosition(positions[r], position, row);
  }
}

void Embedding::AddPosition(int position, float* learned, float* out) const {
  const int row = position + kPadding + 1;
  if (positions_ == PositionKind::kLearned) {
    if (row >= learned_.rows()) {
      throw std::out_of_range(absl::StrCat("position ", position, " is beyond the learned table"));
    }
    learned_.Read(row, learned);
    for (int64_t i = 0; i < width_; ++i) out[i] += learned[i];
  } else if (positions_ == PositionKind::kSinusoidal) {
    if (row >= kSinusoidalRows) return AddSinusoids(row, out);
    const float* const values = sinusoidal_.data() + row * width_;
    for (int64_t i = 0; i < width_; ++i) out[i] += values[i];
  }
}

void Embedding::AddSinusoids(int64_t row, float* out) const {
  const auto half = static_cast<int64_t>(frequencies_.size());
  for (int64_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(row) * frequencies_[i];
    out[i] += std::sin(angle);
    out[half + i] += std::cos(angle);
  }
}

}  // namespace leapstream
