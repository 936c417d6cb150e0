#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_RELATIVE_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_RELATIVE_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/engine/attention/key_value_cache.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"

namespace leapstream {

// Soft-max attention with relative positions (Dai et al. 2019), as fairseq's
// RelPositionMultiHeadedAttention. The energy of query i for key j is
//   ((q_i + u) . k_j + (q_i + v) . p(i - j)) / sqrt(d),
// where u and v are parameters and p is a head's part of the projection of a row of sinusoids:
// channel 2 m is sin(w_m delta), channel 2 m + 1 is cos(w_m delta), w_m = 10000^(-2 m / E). For
// whole prefixes only: the row of position i is query i of its state.
class RelativeAttention : public AttentionKind {
 public:
  // parameters: the attention block's.
  RelativeAttention(const Parameters& parameters, int64_t heads, int64_t d);

  std::unique_ptr<AttentionState> NewState() const override {
    return std::make_unique<KeyValueCache>(heads_, d_, d_);
  }
  void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
              Workspace& scratch) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
              Workspace& scratch) const override;
  // An encoder of whole prefixes takes no steps.
  void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past, float* out,
            Workspace& scratch) const override;

 private:
  // Appends p(delta) for delta = length - 1 down to 1 - length.
  void AppendPositions(int64_t length, KeyValueCache* positions, Workspace& scratch) const;
  // One row. query and out: [H, d]. `positions`: those of `most` or more keys, see
  // AppendPositions().
  void AttendRow(const AttentionRow& row, const float* query, const KeyValueCache& positions,
                 int64_t most, float* out) const;

  const int64_t heads_;
  const int64_t d_;
  const PackedLinear positions_;  // [E] -> [E]
  const std::vector<float> u_;    // [H, d], or empty.
  const std::vector<float> v_;    // The same.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_RELATIVE_ATTENTION_H_
