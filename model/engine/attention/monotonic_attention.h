#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_MONOTONIC_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_MONOTONIC_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "model/engine/attention/attention.h"
#include "model/engine/attention/feature_map.h"

namespace leapstream {

// The ways in which a head of a monotonic attention reads the source.
enum class Lookback {
  kHard,     // It reads only the position at which it stands: hard_aligned.
  kSoftmax,  // Soft-max over the positions up to its own: infinite_lookback, and chunkwise, too.
  kClamped,  // The same positions, with energies over max(their sum, floor): LeaP and its like.
};

struct MonotonicOptions {
  int64_t heads = 0;
  int64_t d = 0;
  Lookback lookback = Lookback::kHard;
  bool mass_preservation = true;  // Heads may stay on the last source position.
  float energy_bias = 0;
  float floor = 0;  // The least divisor of kClamped.
};

// Monotonic multihead cross-attention (Ma et al. 2020) as fairseq runs it one target token at a
// time: each head stands at a source position and moves on while sigmoid(energy) < 0.5 there. Heads
// never go back. A state's wants_source() is true if a head has run out of source and would move
// on; this class does not know whether the source has ended.
//
// With kSoftmax and kClamped, queries and keys are two stacked projections, rows [2, H, d]: the
// first moves the heads, the second reads.
class MonotonicAttention : public AttentionKind {
 public:
  MonotonicAttention(std::unique_ptr<const FeatureMap> features, MonotonicOptions options)
      : features_(std::move(features)), options_(options) {}

  std::unique_ptr<AttentionState> NewState() const override;
  void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
              Workspace& scratch) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
              Workspace& scratch) const override;
  // Throws, since this is no self-attention.
  void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past, float* out,
            Workspace& scratch) const override;

 private:
  class State;
  int64_t projections() const { return options_.lookback == Lookback::kHard ? 1 : 2; }
  void MoveHeads(const float* features, State& state, Workspace& scratch) const;

  const std::unique_ptr<const FeatureMap> features_;
  const MonotonicOptions options_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_MONOTONIC_ATTENTION_H_
