#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_SOFTMAX_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_SOFTMAX_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "model/engine/attention/attention.h"
#include "model/engine/attention/attention_entry.h"
#include "model/engine/attention/feature_map.h"

namespace leapstream {

// Soft-max attention (Vaswani et al. 2017) over a KeyValueCache: the state and the cost of a
// position grow with the length. The released LeaPformer trains its wait-k cross-attention in this
// way, with LeaP's features (docs/fairseq.md, rule 10).
class SoftmaxAttention : public AttentionKind {
 public:
  SoftmaxAttention(std::unique_ptr<const FeatureMap> features, int64_t heads, int64_t d)
      : features_(std::move(features)), heads_(heads), d_(d) {}

  std::unique_ptr<AttentionState> NewState() const override;
  bool can_keep() const override { return true; }
  void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
              Workspace& scratch) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
              Workspace& scratch) const override;
  int64_t AddWeights(const float* queries, const AttentionRow& row, absl::Span<const int> heads,
                     std::vector<float>* sums, Workspace& scratch) const override;
  void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past, float* out,
            Workspace& scratch) const override;

 private:
  // `count` rows of one state attend side by side. features: [count, H, F]; out: [count, H, V].
  void AttendRows(const AttentionState& state, const float* features, int64_t count,
                  float* out) const;

  const std::unique_ptr<const FeatureMap> features_;
  const int64_t heads_;
  const int64_t d_;
};

inline std::unique_ptr<const FeatureMap> MakeScaledFeatures(const AttentionBlock& block) {
  return std::make_unique<ScaledFeatures>(block.heads, block.d);
}
inline constexpr AttentionEntry kSoftmaxKind = {"softmax", &MakeScaledFeatures,
                                                Normaliser::kSoftmax};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_SOFTMAX_ATTENTION_H_
