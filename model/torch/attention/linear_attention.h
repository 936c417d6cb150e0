#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_LINEAR_ATTENTION_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_LINEAR_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "model/torch/attention/attention.h"
#include "model/torch/attention/feature_map.h"

namespace leapstream {

// Attention as a recurrence (Katharopoulos et al. 2020): with features f,
//   out_t = f(q_t)^T sum_s f(k_s) v_s^T / max(f(q_t)^T sum_s f(k_s), floor),
// so that the past is two sums of fixed size and a position costs the same at any length. What the
// energies are is the feature map's: LeaP, cosFormer, plain linear attention.
class LinearAttention : public AttentionKind {
 public:
  // floor: what the denominator is raised to if it is smaller.
  LinearAttention(std::unique_ptr<const FeatureMap> features, int64_t heads, int64_t d, float floor)
      : features_(std::move(features)), heads_(heads), d_(d), floor_(floor) {}

  std::unique_ptr<AttentionState> NewState() const override;
  void Append(const float* keys, const float* values,
              absl::Span<const AttentionRow> rows) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out) const override;
  void Step(const float* queries, const float* keys, const float* values,
            absl::Span<const AttentionRow> rows, Past past, float* out) const override;

  const FeatureMap& features() const { return *features_; }
  // All that a state has, provisional positions too: [H, F V + F] with F = features().width(), per
  // head sum f v^T then sum f. For tests.
  at::Tensor Sums(const AttentionState& state) const;

 private:
  class State;
  int64_t HeadFloats() const { return features_->width() * (d_ + 1); }

  const std::unique_ptr<const FeatureMap> features_;
  const int64_t heads_;
  const int64_t d_;
  const float floor_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_LINEAR_ATTENTION_H_
