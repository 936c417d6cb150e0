#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_ELEMENTWISE_FEATURES_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_ELEMENTWISE_FEATURES_H_

#include <cmath>
#include <cstdint>
#include <memory>

#include "model/engine/attention/attention_entry.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/attention/linear_attention.h"

namespace leapstream {

// The features of plain linear attention: each number of queries and keys is mapped by itself.
inline float ReluFeature(float x) { return x > 0 ? x : 0; }
inline float EluPlusOneFeature(float x) {  // Katharopoulos et al. 2020.
  return x > 0 ? x + 1 : std::exp(x);
}

class ElementwiseFeatures : public FeatureMap {
 public:
  ElementwiseFeatures(int64_t heads, int64_t d, float (*feature)(float))
      : heads_(heads), d_(d), feature_(feature) {}

  int64_t width() const override { return d_; }
  void Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
               Workspace& scratch) const override {
    Keys(x, rows, features, scratch);
  }
  void Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
            Workspace&) const override {
    const int64_t count = static_cast<int64_t>(rows.size()) * heads_ * d_;
    for (int64_t i = 0; i < count; ++i) features[i] = feature_(x[i]);
  }

 private:
  const int64_t heads_;
  const int64_t d_;
  float (*const feature_)(float);
};

template <float (*feature)(float)>
std::unique_ptr<const FeatureMap> MakeElementwiseFeatures(const AttentionBlock& block) {
  return std::make_unique<ElementwiseFeatures>(block.heads, block.d, feature);
}
inline constexpr AttentionEntry kLinearReluKind = {"linear_relu",
                                                   &MakeElementwiseFeatures<&ReluFeature>,
                                                   Normaliser::kSum, kTinyNormaliserFloor};
inline constexpr AttentionEntry kLinearEluKind = {"linear_elu",
                                                  &MakeElementwiseFeatures<&EluPlusOneFeature>,
                                                  Normaliser::kSum, kTinyNormaliserFloor};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_ELEMENTWISE_FEATURES_H_
