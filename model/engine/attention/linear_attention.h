#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_LINEAR_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_LINEAR_ATTENTION_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "model/engine/attention/attention.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/kernels/slot_arena.h"
#include "model/engine/tensor.h"

namespace leapstream {

// The least denominator of kinds that divide by the sum of energies as it is: it only keeps a query
// that sees nothing from 0 / 0.
inline constexpr float kTinyNormaliserFloor = 1e-6f;

// The type of the sums of a state: see SimdKernels.
enum class StateType { kFloat32, kFloat16 };

struct LinearOptions {
  int64_t heads = 0;
  int64_t d = 0;
  // The least denominator: a smaller one is raised to this.
  float floor = 0;
  // The number of positions that are kept as rows before they are folded into sums. Unset: as many
  // as fit into the memory of the sums. At about this number sums become cheaper to read.
  std::optional<int64_t> rows;
  // The most positions of a state that are not settled: one for each layer that shares the state.
  int64_t provisional = 1;
  StateType state_type = StateType::kFloat32;
};

// Attention as a recurrence (Katharopoulos et al. 2020): with features f,
//   out_t = f(q_t)^T sum_s f(k_s) v_s^T / max(f(q_t)^T sum_s f(k_s), floor),
// so that the past is two sums of fixed size and a position costs the same at any length. The
// feature map decides the energies: LeaP, cosFormer, or plain linear attention.
//
// A short past is not summed: its features and values lie as rows, which are fewer floats than the
// sums and are not written again. When there is no room for more rows, all are folded into the sums
// at once. Later positions are folded several at a time. The sums may be kept in float16.
class LinearAttention : public AttentionKind {
 public:
  LinearAttention(std::unique_ptr<const FeatureMap> features, LinearOptions options);

  std::unique_ptr<AttentionState> NewState() const override;
  void Reserve(int64_t states) const override { arena_->Reserve(states); }
  void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
              Workspace& scratch) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
              Workspace& scratch) const override;
  // The energies over their sum, as long as the past is rows.
  int64_t AddWeights(const float* queries, const AttentionRow& row, absl::Span<const int> heads,
                     std::vector<float>* sums, Workspace& scratch) const override;
  void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past, float* out,
            Workspace& scratch) const override;

  const FeatureMap& features() const { return *features_; }
  // The sums over all positions of a state, also provisional ones: [H, F V + F] with
  // F = features().width(); for each head sum f v^T, then sum f.
  Tensor SumsForTest(const AttentionState& state) const;

 private:
  class State;
  struct Row {  // One position of all heads: features [H, F], values [H, V].
    const float* features;
    const float* values;
  };
  int64_t SumFloats() const { return kernels_.floats(F_, d_); }
  // Those of them, at the beginning, that are two float16 numbers each.
  int64_t HalfFloats() const { return state_type_ == StateType::kFloat16 ? SumFloats() - F_ : 0; }
  // The floats of one head's rows or sums, without and with its newest positions.
  int64_t HeadFloats() const { return std::max(SumFloats(), rows_ * (F_ + d_)); }
  int64_t HeadSlotFloats() const { return HeadFloats() + newest_ * (F_ + d_); }
  // Makes the slots of all rows' states their own. Copies of one state may be in one batch, and
  // other threads may serve them.
  static void OwnSlots(absl::Span<const AttentionRow> rows);
  void FoldAll(State& state) const;
  // Folds the oldest of a folded state's newest positions into its sums.
  void FoldNewest(State& state) const;
  // Moves the newest positions of a head to the place of those that were folded.
  void DropFolded(const State& state, int64_t h) const;
  // Writes a position of a head: features, then value.
  void Put(const Row& row, int64_t h, float* to) const;
  // Prefetches what a query needs of a head first: the sum of f, and the newest positions.
  void Prefetch(const State& state, int64_t h) const;
  // One row attends to all positions of the state, and to its own, which is added first unless it
  // is null. out: [H, V].
  void AttendRow(const float* features, const Row* add, State& state, float* out) const;

  const std::unique_ptr<const FeatureMap> features_;
  const int64_t F_;
  const int64_t heads_;
  const int64_t d_;
  const float floor_;
  const StateType state_type_;
  const SumKernels kernels_;
  const int64_t rows_;
  const int64_t newest_;  // The most positions that a folded state keeps apart from the sums.
  const std::shared_ptr<SlotArena> arena_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_LINEAR_ATTENTION_H_
