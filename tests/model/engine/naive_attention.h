#ifndef LEAPSTREAM_TESTS_MODEL_ENGINE_NAIVE_ATTENTION_H_
#define LEAPSTREAM_TESTS_MODEL_ENGINE_NAIVE_ATTENTION_H_

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include "model/engine/attention/leap_features.h"
#include "model/engine/tensor.h"

namespace leapstream {

inline at::Tensor ToTorch(const Tensor& x) {
  return at::from_blob(const_cast<float*>(x.data()), x.shape()).clone();
}

// The quadratic forms of attention in LibTorch operations, as slow twins. q: [H, T, d], scaled; k,
// v: [H, S, d]; q and k of LeaP are given before the feature map. p_q: [H, T]; p_k: [H, S]. mask:
// [T, S] bool, true for positions that a row may see. They return [H, T, d].
inline at::Tensor LeapAttentionNaive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const at::Tensor& p_q, const at::Tensor& p_k,
                                     const at::Tensor& mask) {
  const at::Tensor angle = (p_q.unsqueeze(-1) - p_k.unsqueeze(-2)) * (M_PI / 2);  // [H, T, S]
  const at::Tensor energy = at::matmul(at::relu(q), at::relu(k).transpose(-1, -2)) * at::cos(angle);
  const at::Tensor seen = energy * mask.to(at::kFloat);
  return at::matmul(seen, v) / seen.sum(-1, /*keepdim=*/true).clamp_min(kLeapNormaliserFloor);
}

inline at::Tensor SoftmaxAttentionNaive(const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, const at::Tensor& mask) {
  const at::Tensor energy = at::matmul(q, k.transpose(-1, -2));
  const at::Tensor seen =
      energy.masked_fill(mask.logical_not(), -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(seen, -1), v);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_ENGINE_NAIVE_ATTENTION_H_
