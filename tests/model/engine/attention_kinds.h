#ifndef LEAPSTREAM_TESTS_MODEL_ENGINE_ATTENTION_KINDS_H_
#define LEAPSTREAM_TESTS_MODEL_ENGINE_ATTENTION_KINDS_H_

#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include "model/engine/attention/big_bird_attention.h"
#include "model/engine/attention/cosformer_features.h"
#include "model/engine/attention/elementwise_features.h"
#include "model/engine/attention/leap_features.h"
#include "model/engine/attention/linear_attention.h"
#include "model/engine/attention/softmax_attention.h"
#include "tests/model/engine/naive_attention.h"

namespace leapstream {

inline const int64_t kCosformerMaxLength = ModelConfig().cosformer_max_length;
inline constexpr int64_t kBigBirdBlock = 64;
inline constexpr int64_t kBigBirdRandomBlocks = 3;

inline at::Tensor NormalTensor(std::mt19937& random, const std::vector<int64_t>& shape,
                               float scale = 1) {
  at::Tensor x = at::empty(shape);
  std::normal_distribution<float> normal(0, scale);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = normal(random);
  return x;
}

// LeaP's nets with random weights, as matrices and in the form that the feature map takes.
struct RandomProportionNet {
  RandomProportionNet(std::mt19937& random, int64_t d, int64_t leap_factor)
      : w1(NormalTensor(random, {std::max<int64_t>(d / leap_factor, 1), d})),
        b1(NormalTensor(random, {w1.size(0)})),
        w2(NormalTensor(random, {1, w1.size(0)})),
        b2(NormalTensor(random, {1})) {}
  ProportionNet Packed() const {
    const auto pack = [](const at::Tensor& w, const at::Tensor& b) {
      return PackedLinear(w.data_ptr<float>(), b.data_ptr<float>(), w.size(0), w.size(1));
    };
    return {pack(w1, b1), pack(w2, b2)};
  }
  // x: [..., d] after relu. Returns [...].
  at::Tensor operator()(const at::Tensor& x) const {
    return (x.matmul(w1.t()) + b1).relu().matmul(w2.t()).add(b2).sigmoid().squeeze(-1);
  }

  at::Tensor w1, b1, w2, b2;
};

using NaiveAttention = std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k,
                                                const at::Tensor& v, const at::Tensor& mask)>;

// An attention kind with random weights, and its quadratic twin in LibTorch operations. A kind that
// is added to AttentionKinds() is in the tests and the benchmark.
struct AttentionKindCase {
  std::string name;
  std::unique_ptr<const AttentionKind> kind;
  bool causal = true;  // The kind has Step().
  // q, k, v: [H, T, d] as projected; mask: [T, T] bool. Returns [H, T, d].
  NaiveAttention naive;
  // The most that the result may differ from the twin's, as a part of it, beside roundings of
  // float32: half sums have as many as pairs of positions, in their means.
  double state_error = 0;
};

inline at::Tensor NormaliseNaive(const at::Tensor& energy, const at::Tensor& v,
                                 const at::Tensor& mask, float floor) {
  const at::Tensor seen = energy * mask.to(at::kFloat);
  return seen.matmul(v) / seen.sum(-1, /*keepdim=*/true).clamp_min(floor);
}

// rows: see LinearOptions.
inline std::vector<AttentionKindCase> AttentionKinds(std::mt19937& random, int64_t heads, int64_t d,
                                                     std::optional<int64_t> rows = std::nullopt) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const auto linear = [&](std::unique_ptr<const FeatureMap> features, float floor) {
    return std::make_unique<LinearAttention>(std::move(features),
                                             LinearOptions{heads, d, floor, rows});
  };
  std::vector<AttentionKindCase> kinds;
  const auto add = [&kinds](std::string name, std::unique_ptr<const AttentionKind> kind,
                            NaiveAttention naive) {
    kinds.push_back({std::move(name), std::move(kind), /*causal=*/true, std::move(naive), 0});
  };

  add("softmax",
      std::make_unique<SoftmaxAttention>(std::make_unique<ScaledFeatures>(heads, d), heads, d),
      [scale](const auto& q, const auto& k, const auto& v, const auto& mask) {
        return SoftmaxAttentionNaive(q * scale, k, v, mask);
      });

  const RandomProportionNet query_net(random, d, 4), key_net(random, d, 4);
  const auto leap_features = [&] {
    return std::make_unique<LeapFeatures>(query_net.Packed(), key_net.Packed(), heads, d);
  };
  const NaiveAttention naive_leap = [=](const auto& q, const auto& k, const auto& v,
                                        const auto& mask) {
    return LeapAttentionNaive(q * scale, k, v, query_net((q * scale).relu()), key_net(k.relu()),
                              mask);
  };
  add("leap", linear(leap_features(), kLeapNormaliserFloor), naive_leap);
  LinearOptions half{heads, d, kLeapNormaliserFloor, rows};
  half.state_type = StateType::kFloat16;
  add("leap_float16", std::make_unique<LinearAttention>(leap_features(), half), naive_leap);
  kinds.back().state_error = 0.01;
  add("leap_softmax", std::make_unique<SoftmaxAttention>(leap_features(), heads, d),
      [=](const auto& q, const auto& k, const auto& v, const auto& mask) {
        const at::Tensor fq = (q * scale).relu(), fk = k.relu();
        const at::Tensor angle =
            (query_net(fq).unsqueeze(-1) - key_net(fk).unsqueeze(-2)) * (M_PI / 2);
        const at::Tensor energy = fq.matmul(fk.transpose(-1, -2)) * angle.cos();
        return energy.masked_fill(mask.logical_not(), -INFINITY).softmax(-1).matmul(v);
      });
  add("cosformer",
      linear(std::make_unique<CosformerFeatures>(heads, d, kCosformerMaxLength),
             kTinyNormaliserFloor),
      [](const auto& q, const auto& k, const auto& v, const auto& mask) {
        const at::Tensor i = at::arange(q.size(1), at::kFloat) / kCosformerMaxLength;
        const at::Tensor angle = (i.unsqueeze(-1) - i.unsqueeze(-2)) * (M_PI / 2);
        const at::Tensor energy = q.relu().matmul(k.relu().transpose(-1, -2)) * angle.cos();
        return NormaliseNaive(energy, v, mask, kTinyNormaliserFloor);
      });
  add("linear_relu",
      linear(std::make_unique<ElementwiseFeatures>(heads, d, &ReluFeature), kTinyNormaliserFloor),
      [](const auto& q, const auto& k, const auto& v, const auto& mask) {
        return NormaliseNaive(q.relu().matmul(k.relu().transpose(-1, -2)), v, mask,
                              kTinyNormaliserFloor);
      });
  add("linear_elu",
      linear(std::make_unique<ElementwiseFeatures>(heads, d, &EluPlusOneFeature),
             kTinyNormaliserFloor),
      [](const auto& q, const auto& k, const auto& v, const auto& mask) {
        return NormaliseNaive((at::elu(q) + 1).matmul((at::elu(k) + 1).transpose(-1, -2)), v, mask,
                              kTinyNormaliserFloor);
      });

  auto big_bird = std::make_unique<BigBirdAttention>(heads, d, kBigBirdBlock, kBigBirdRandomBlocks);
  const BigBirdAttention* bird = big_bird.get();
  add("big_bird", std::move(big_bird),
      [scale, bird](const auto& q, const auto& k, const auto& v, const auto& mask) {
        at::Tensor sparse = at::zeros_like(mask);
        const int64_t T = q.size(1);
        const int64_t blocks = (T + kBigBirdBlock - 1) / kBigBirdBlock;
        for (int64_t t = 0; t < T; ++t) {
          for (const int64_t b : bird->BlocksSeen(t / kBigBirdBlock, blocks)) {
            sparse[t].slice(0, b * kBigBirdBlock, (b + 1) * kBigBirdBlock).fill_(true);
          }
        }
        return SoftmaxAttentionNaive(q * scale, k, v, sparse.logical_and(mask));
      });
  kinds.back().causal = false;
  return kinds;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_ENGINE_ATTENTION_KINDS_H_
