#include "model/torch/attention/leap_features.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include "model/torch/kernels/simd.h"

namespace leapstream {
namespace {
constexpr float kHalfPi = 1.57079632679489662f;
}  // namespace

void LeapFeatures::Map(const Scaled& rows, const ProportionNet& net, float* features,
                       Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* positive = scratch.Floats(rows.count * d_);
  for (int64_t i = 0; i < rows.count * d_; ++i) {
    const float x = rows.scale * rows.x[i];
    positive[i] = x > 0 ? x : 0;
  }
  float* hidden = scratch.Floats(rows.count * net.hidden.out());
  net.hidden.Apply(positive, rows.count, hidden, scratch, Epilogue::kRelu);
  float* sine = scratch.Floats(rows.count);  // First what the net says, before its sigmoid.
  float* cosine = scratch.Floats(rows.count);
  net.out.Apply(hidden, rows.count, sine, scratch);
  Simd().leap_angles(sine, rows.count, cosine);
  for (int64_t i = 0; i < rows.count; ++i) {
    float* out = features + i * 2 * d_;
    const float* in = positive + i * d_;
    for (int64_t j = 0; j < d_; ++j) out[j] = in[j] * sine[i];
    for (int64_t j = 0; j < d_; ++j) out[d_ + j] = in[j] * cosine[i];
  }
}

void LeapFeatures::Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
                           Workspace& scratch) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(d_));
  Map({x, static_cast<int64_t>(rows.size()) * heads_, scale}, query_proportion_, features, scratch);
}

void LeapFeatures::Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
                        Workspace& scratch) const {
  Map({x, static_cast<int64_t>(rows.size()) * heads_, 1.0f}, key_proportion_, features, scratch);
}

at::Tensor LeapAttentionNaive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const at::Tensor& p_q, const at::Tensor& p_k,
                              const at::Tensor& mask) {
  const at::Tensor angle = (p_q.unsqueeze(-1) - p_k.unsqueeze(-2)) * kHalfPi;  // [H, T, S]
  const at::Tensor energy = at::matmul(at::relu(q), at::relu(k).transpose(-1, -2)) * at::cos(angle);
  const at::Tensor seen = energy * mask.to(at::kFloat);
  return at::matmul(seen, v) / seen.sum(-1, /*keepdim=*/true).clamp_min(kLeapNormaliserFloor);
}

}  // namespace leapstream
