#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_FEATURE_MAP_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_FEATURE_MAP_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/types/span.h"
#include "model/engine/attention/attention.h"

namespace leapstream {

// Turns projected queries and keys into vectors whose inner product is the attention energy. Const
// and thread-safe. Each row is mapped by itself; of an AttentionRow only the position is used.
class FeatureMap {
 public:
  virtual ~FeatureMap() = default;
  virtual int64_t width() const = 0;  // The number of features of one head.
  // x: [R, H, d] as projected. features: [R, H, width()].
  virtual void Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
                       Workspace& scratch) const = 0;
  virtual void Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
                    Workspace& scratch) const = 0;
};

// The features of soft-max attention, whose energy is the plain inner product q . k / sqrt(d).
class ScaledFeatures : public FeatureMap {
 public:
  ScaledFeatures(int64_t heads, int64_t d)
      : heads_(heads), d_(d), scale_(1.0f / std::sqrt(static_cast<float>(d))) {}

  int64_t width() const override { return d_; }
  void Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
               Workspace&) const override {
    const int64_t count = static_cast<int64_t>(rows.size()) * heads_ * d_;
    for (int64_t i = 0; i < count; ++i) features[i] = x[i] * scale_;
  }
  void Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
            Workspace&) const override {
    std::copy_n(x, static_cast<int64_t>(rows.size()) * heads_ * d_, features);
  }

 private:
  const int64_t heads_;
  const int64_t d_;
  const float scale_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_FEATURE_MAP_H_
