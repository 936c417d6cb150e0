#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_LEAP_FEATURES_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_LEAP_FEATURES_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "model/engine/attention/attention_entry.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/kernels/packed_linear.h"

namespace leapstream {

// The least denominator, as in fairseq-leapformer's leapformer_attention.py. The numerator has no
// such bound.
inline constexpr float kLeapNormaliserFloor = 0.1f;

// The net that gives each head and position its proportion p in (0, 1):
// sigmoid(W2 relu(W1 x + b1) + b2), shared by the heads of a block.
struct ProportionNet {
  PackedLinear hidden;
  PackedLinear out;
};

// LeaP (Agostinelli et al. 2024): the energy relu(q) . relu(k) cos(pi/2 (p_q - p_k)) is the inner
// product of the features [f sin(pi/2 p), f cos(pi/2 p)] of query and key, with f = relu(.).
// Queries are scaled by 1 / sqrt(d) before the relu, as in fairseq-leapformer.
class LeapFeatures : public FeatureMap {
 public:
  LeapFeatures(ProportionNet query_proportion, ProportionNet key_proportion, int64_t heads,
               int64_t d)
      : heads_(heads),
        d_(d),
        query_proportion_(std::move(query_proportion)),
        key_proportion_(std::move(key_proportion)) {}

  int64_t width() const override { return 2 * d_; }
  void Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
               Workspace& scratch) const override;
  void Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
            Workspace& scratch) const override;

 private:
  struct Scaled {
    const float* x;  // [count, d]
    int64_t count;
    float scale;
  };
  void Map(const Scaled& rows, const ProportionNet& net, float* features, Workspace& scratch) const;

  const int64_t heads_;
  const int64_t d_;
  const ProportionNet query_proportion_;
  const ProportionNet key_proportion_;
};

std::unique_ptr<const FeatureMap> MakeLeapFeatures(const AttentionBlock& block);
inline constexpr AttentionEntry kLeapKind = {"leap",
                                             &MakeLeapFeatures,
                                             Normaliser::kSum,
                                             kLeapNormaliserFloor,
                                             /*proportion_nets=*/true};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_LEAP_FEATURES_H_
