#include "model/torch/attention/leap_features.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>

namespace leapstream {
namespace {
constexpr float kHalfPi = 1.57079632679489662f;
}  // namespace

std::vector<float> ProportionNet::operator()(const float* features, int64_t count) const {
  std::vector<float> inner(count * hidden.out());
  hidden.Apply(features, count, inner.data());
  for (float& h : inner) h = std::max(h, 0.0f);
  std::vector<float> p(count);
  out.Apply(inner.data(), count, p.data());
  for (float& x : p) x = 1.0f / (1.0f + std::exp(-x));
  return p;
}

std::vector<float> LeapFeatures::Map(const float* x, int64_t count, float scale,
                                     const ProportionNet& net) const {
  std::vector<float> positive(count * d_);
  for (int64_t i = 0; i < count * d_; ++i) positive[i] = std::max(scale * x[i], 0.0f);
  const std::vector<float> p = net(positive.data(), count);
  std::vector<float> features(count * 2 * d_);
  for (int64_t i = 0; i < count; ++i) {
    const float sine = std::sin(kHalfPi * p[i]);
    const float cosine = std::cos(kHalfPi * p[i]);
    float* out = features.data() + i * 2 * d_;
    for (int64_t j = 0; j < d_; ++j) {
      out[j] = positive[i * d_ + j] * sine;
      out[d_ + j] = positive[i * d_ + j] * cosine;
    }
  }
  return features;
}

std::vector<float> LeapFeatures::Queries(const float* x,
                                         absl::Span<const AttentionRow> rows) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(d_));
  return Map(x, static_cast<int64_t>(rows.size()) * heads_, scale, query_proportion_);
}

std::vector<float> LeapFeatures::Keys(const float* x, absl::Span<const AttentionRow> rows) const {
  return Map(x, static_cast<int64_t>(rows.size()) * heads_, 1.0f, key_proportion_);
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
