#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_COSFORMER_FEATURES_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_COSFORMER_FEATURES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "model/engine/attention/attention_entry.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/attention/linear_attention.h"

namespace leapstream {

// cosFormer (Qin et al. 2022): relu(q_i) . relu(k_j) cos(pi/2 (i - j) / M), which is LeaP with the
// fixed proportion i / M. M is the greatest length. Beyond M the weights would turn negative, so
// greater positions count as M.
class CosformerFeatures : public FeatureMap {
 public:
  CosformerFeatures(int64_t heads, int64_t d, int64_t max_length)
      : heads_(heads), d_(d), max_length_(max_length) {}

  int64_t width() const override { return 2 * d_; }
  void Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
               Workspace& scratch) const override {
    Keys(x, rows, features, scratch);
  }
  void Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
            Workspace&) const override {
    constexpr float kHalfPi = 1.57079632679489662f;
    for (size_t r = 0; r < rows.size(); ++r) {
      const int64_t position = std::min<int64_t>(rows[r].position, max_length_);
      const float angle = kHalfPi * static_cast<float>(position) / static_cast<float>(max_length_);
      const float sine = std::sin(angle);
      const float cosine = std::cos(angle);
      for (int64_t i = r * heads_; i < static_cast<int64_t>(r + 1) * heads_; ++i) {
        for (int64_t j = 0; j < d_; ++j) {
          const float positive = std::max(x[i * d_ + j], 0.0f);
          features[i * 2 * d_ + j] = positive * sine;
          features[i * 2 * d_ + d_ + j] = positive * cosine;
        }
      }
    }
  }

 private:
  const int64_t heads_;
  const int64_t d_;
  const int64_t max_length_;
};

inline std::unique_ptr<const FeatureMap> MakeCosformerFeatures(const AttentionBlock& block) {
  return std::make_unique<CosformerFeatures>(block.heads, block.d,
                                             block.config.cosformer_max_length);
}
inline constexpr AttentionEntry kCosformerKind = {"cosformer", &MakeCosformerFeatures,
                                                  Normaliser::kSum, kTinyNormaliserFloor};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_COSFORMER_FEATURES_H_
