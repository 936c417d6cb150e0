#include "model/engine/speech/conformer_layer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/engine/attention/softmax_attention.h"
#include "model/engine/speech/relative_attention.h"

namespace leapstream {
namespace {

constexpr float kBatchNormEpsilon = 1e-5f;  // torch's default, which fairseq keeps.

std::unique_ptr<const AttentionKind> MakePositionKind(const Parameters& parameters,
                                                      const ModelConfig& config) {
  const int64_t heads = config.encoder.attention_heads;
  const int64_t d = config.encoder.embed_dim / heads;
  if (config.speech->conformer->positions == "relative") {
    return std::make_unique<RelativeAttention>(parameters, heads, d);
  }
  return std::make_unique<SoftmaxAttention>(std::make_unique<ScaledFeatures>(heads, d), heads, d);
}

}  // namespace

ConformerAttention::ConformerAttention(const Parameters& parameters, const ModelConfig& config)
    : width_(config.encoder.embed_dim),
      d_(width_ / config.encoder.attention_heads),
      rotary_(config.speech->conformer->positions == "rotary"),
      query_(parameters.Under("query").Linear({width_, width_})),
      key_(parameters.Under("key").Linear({width_, width_})),
      value_(parameters.Under("value").Linear({width_, width_})),
      output_(parameters.Under("output").Linear({width_, width_})),
      kind_(MakePositionKind(parameters, config)) {}

// See fairseq/modules/rotary_positional_embedding.py: the angle of channel i and of channel i + d /
// 2 of a head is the position times 10000^(-2 i / d).
void ConformerAttention::Rotate(const float* x, absl::Span<const AttentionRow> rows,
                                float* out) const {
  const int64_t half = d_ / 2;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t i = 0; i < half; ++i) {
      const float frequency =
          1.0f / std::pow(10000.0f, static_cast<float>(2 * i) / static_cast<float>(d_));
      const float angle = static_cast<float>(rows[r].position) * frequency;
      const float cosine = std::cos(angle);
      const float sine = std::sin(angle);
      for (int64_t head = 0; head < width_; head += d_) {
        const int64_t first = static_cast<int64_t>(r) * width_ + head + i;
        const int64_t second = first + half;
        const float one = x[first];
        const float other = x[second];
        out[first] = one * cosine - other * sine;
        out[second] = other * cosine + one * sine;
      }
    }
  }
}

void ConformerAttention::Apply(const float* x, absl::Span<const AttentionRow> rows, float* y,
                               Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  const float* turned = x;
  if (rotary_) {
    float* const out = scratch.Floats(count * width_);
    Rotate(x, rows, out);
    turned = out;
  }
  float* const queries = scratch.Floats(count * width_);
  float* const keys = scratch.Floats(count * width_);
  float* const values = scratch.Floats(count * width_);
  query_.Apply(turned, count, queries, scratch);
  key_.Apply(turned, count, keys, scratch);
  value_.Apply(x, count, values, scratch);
  kind_->Append(keys, values, rows, scratch);
  kind_->Attend(queries, rows, keys, scratch);  // The keys are in the states now.
  output_.Apply(keys, count, y, scratch, Epilogue::kAdd);
}

ConvolutionModule::ConvolutionModule(const Parameters& parameters, const ModelConfig& config)
    : width_(config.encoder.embed_dim),
      kernel_(config.speech->conformer->depthwise_kernel),
      norm_(parameters.Under("norm"), width_),
      expand_(parameters.Matrix("expand", {2 * width_, width_, 1})),
      contract_(parameters.Matrix("contract", {width_, width_, 1})) {
  const std::vector<float> depthwise = parameters.Values("depthwise", {width_, 1, kernel_});
  const Parameters batch_norm = parameters.Under("batch_norm");
  const std::vector<float> weight = batch_norm.Values("weight", {width_});
  const std::vector<float> bias = batch_norm.Values("bias", {width_});
  const std::vector<float> mean = batch_norm.Values("mean", {width_});
  const std::vector<float> variance = batch_norm.Values("variance", {width_});
  if (variance.empty()) return;  // A listing, or an error that Weights reports.
  weights_.resize(kernel_ * width_);
  bias_.resize(width_);
  for (int64_t c = 0; c < width_; ++c) {
    const float scale = weight[c] / std::sqrt(variance[c] + kBatchNormEpsilon);
    for (int64_t k = 0; k < kernel_; ++k) {
      weights_[k * width_ + c] = depthwise[c * kernel_ + k] * scale;
    }
    bias_[c] = bias[c] - mean[c] * scale;
  }
}

void ConvolutionModule::Convolve(const float* x, int64_t begin, int64_t end, float* y) const {
  const int64_t half = kernel_ / 2;
  for (int64_t r = begin; r < end; ++r) {
    float* const out = y + r * width_;
    std::copy(bias_.begin(), bias_.end(), out);
    const int64_t first = std::max(r - half, begin);  // Zeros stand before and behind the prefix.
    const int64_t last = std::min(r + half, end - 1);
    for (int64_t seen = first; seen <= last; ++seen) {
      const float* const weights = weights_.data() + (seen - r + half) * width_;
      const float* const in = x + seen * width_;
      for (int64_t c = 0; c < width_; ++c) out[c] += weights[c] * in[c];
    }
    MultiplyBySigmoid(out, out, width_, out);
  }
}

void ConvolutionModule::Apply(const float* x, absl::Span<const AttentionRow> rows, float* y,
                              Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  float* const normed = scratch.Floats(count * width_);
  norm_.Apply(x, count, normed);
  float* const expanded = scratch.Floats(count * 2 * width_);
  expand_.Apply(normed, count, expanded, scratch);
  for (int64_t r = 0; r < count; ++r) {
    const float* const row = expanded + r * 2 * width_;
    MultiplyBySigmoid(row, row + width_, width_, normed + r * width_);
  }
  ForEachRun(rows, [&](int64_t begin, int64_t end) { Convolve(normed, begin, end, expanded); });
  contract_.Apply(expanded, count, y, scratch, Epilogue::kAdd);
}

ConformerLayer::ConformerLayer(const Parameters& parameters, const ModelConfig& config)
    : first_(parameters.Under("ffn1"), config.encoder),
      attention_norm_(parameters.Under("self_attention_norm"), config.encoder.embed_dim),
      attention_(parameters.Under("self_attention"), config),
      convolution_(parameters.Under("conv"), config),
      second_(parameters.Under("ffn2"), config.encoder),
      norm_(parameters.Under("norm"), config.encoder.embed_dim) {}

void ConformerLayer::ApplyHalf(const HalfFeedForward& half, const char* golden_name, const Rows& x,
                               const Call& call) const {
  const Workspace::Scope scope(call.scratch);
  const int64_t size = x.count * x.width;
  float* const normed = call.scratch.Floats(size);
  half.norm.Apply(x.x, x.count, normed);
  float* const out = call.scratch.Floats(size);
  std::fill_n(out, size, 0.0f);
  half.ffn.Apply(normed, x.count, out, call.scratch);
  call.observer.Show(call.name, golden_name, {out, x.count, x.width});
  for (int64_t i = 0; i < size; ++i) x.x[i] += 0.5f * out[i];
}

void ConformerLayer::Apply(const Rows& x, const Call& call) const {
  ApplyHalf(first_, ".ffn1", x, call);
  {
    const Workspace::Scope scope(call.scratch);
    float* const normed = call.scratch.Floats(x.count * x.width);
    attention_norm_.Apply(x.x, x.count, normed);
    call.observer.ShowAdded(call.name, ".self_attn", x,
                            [&] { attention_.Apply(normed, call.rows, x.x, call.scratch); });
  }
  call.observer.ShowAdded(call.name, ".conv_module", x,
                          [&] { convolution_.Apply(x.x, call.rows, x.x, call.scratch); });
  ApplyHalf(second_, ".ffn2", x, call);
  norm_.Apply(x.x, x.count, x.x);
  call.observer.Show(call.name, ".out", x);
}

}  // namespace leapstream
