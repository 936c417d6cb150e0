#include "model/engine/attention/monotonic_attention.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "model/engine/attention/key_value_cache.h"

namespace leapstream {

// The past of one block. With two projections the cache has 2 H "heads": the keys of the first H
// move the heads, those of the last H serve for reading. Values lie with the last H.
class MonotonicAttention::State : public AttentionState {
 public:
  State(int64_t heads, int64_t projections, int64_t K, int64_t V)
      : cache_(heads * projections, K, V), step_(heads, 0), settled_step_(heads, 0) {}

  void Reset() override {
    cache_.Reset();
    std::fill(step_.begin(), step_.end(), 0);
    Settle();
    wants_source_ = false;
  }
  void ForgetSource() override { cache_.Reset(); }
  // Only the heads' places are provisional; the source never is.
  void Settle() override { settled_step_ = step_; }
  void Drop() override { step_ = settled_step_; }
  bool wants_source() const override { return wants_source_; }
  int64_t bytes() const override { return cache_.bytes(); }
  std::unique_ptr<AttentionState> Clone() const override { return std::make_unique<State>(*this); }
  void CopyFrom(const AttentionState& any) override {
    const auto& other = static_cast<const State&>(any);
    cache_.CopyFrom(other.cache_);
    step_ = other.step_;
    settled_step_ = other.settled_step_;
    wants_source_ = other.wants_source_;
  }

 private:
  friend class MonotonicAttention;
  KeyValueCache cache_;
  std::vector<int64_t> step_;  // Each head's source position, or their number: past all of them.
  std::vector<int64_t> settled_step_;
  bool wants_source_ = false;
};

std::unique_ptr<AttentionState> MonotonicAttention::NewState() const {
  return std::make_unique<State>(options_.heads, projections(), features_->width(), options_.d);
}

void MonotonicAttention::Append(const float* keys, const float* values,
                                absl::Span<const AttentionRow> rows, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = options_.heads * options_.d;
  const int64_t n = projections();
  // One row [n, H, d] at a time is mapped, as n rows of H heads.
  const int64_t features_width = n * options_.heads * features_->width();
  float* features = scratch.Floats(features_width);
  float* value = scratch.Floats(n * width);
  std::fill_n(value, n * width, 0.0f);
  for (size_t r = 0; r < rows.size(); ++r) {
    const AttentionRow each[2] = {rows[r], rows[r]};
    features_->Keys(keys + r * n * width, absl::MakeConstSpan(each, n), features, scratch);
    std::copy_n(values + r * width, width, value + (n - 1) * width);
    static_cast<State&>(*rows[r].state).cache_.Append(features, value);
  }
}

void MonotonicAttention::MoveHeads(const float* features, State& state, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t length = state.cache_.length();
  const int64_t ceiling = options_.mass_preservation ? length - 1 : length;
  std::vector<int64_t>& step = state.step_;
  // In the fork, one head at the ceiling takes all others there (docs/fairseq.md, rule 12).
  if (std::any_of(step.begin(), step.end(), [&](int64_t s) { return s >= ceiling; })) {
    std::fill(step.begin(), step.end(), ceiling);
  }
  float* energies = scratch.Floats(KeyValueCache::Rounded(length));
  state.wants_source_ = false;
  for (int64_t h = 0; h < options_.heads; ++h) {
    state.cache_.Energies(h, features + h * features_->width(), 0, length, energies);
    const auto moves_on = [&](int64_t position) {
      const float energy = energies[std::min(position, length - 1)] + options_.energy_bias;
      return 1.0f / (1.0f + std::exp(-energy)) < 0.5f;
    };
    while (step[h] < ceiling && moves_on(step[h])) ++step[h];
    if (step[h] == ceiling && moves_on(step[h])) state.wants_source_ = true;
  }
}

void MonotonicAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows,
                                float* out, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t n = projections();
  const int64_t F = features_->width();
  float* row_features = scratch.Floats(n * options_.heads * F);
  for (size_t r = 0; r < rows.size(); ++r) {
    const Workspace::Scope row_scope(scratch);
    const AttentionRow each[2] = {rows[r], rows[r]};
    features_->Queries(queries + r * n * options_.heads * options_.d, absl::MakeConstSpan(each, n),
                       row_features, scratch);
    auto& state = static_cast<State&>(*rows[r].state);
    MoveHeads(row_features, state, scratch);
    const int64_t length = state.cache_.length();
    float* weights = scratch.Floats(KeyValueCache::Rounded(length));
    for (int64_t h = 0; h < options_.heads; ++h) {
      float* head_out = out + (r * options_.heads + h) * options_.d;
      std::fill_n(head_out, options_.d, 0.0f);
      const int64_t step = state.step_[h];
      const int64_t reader = (n - 1) * options_.heads + h;  // The cache's head that it reads with.
      int64_t count = std::min(step, length - 1) + 1;  // The number of positions that it reads.
      if (options_.lookback == Lookback::kHard) {
        if (step == length) continue;  // A head past the last position reads nothing.
        std::fill_n(weights, length, 0.0f);
        weights[step] = 1;
      } else {
        if (step == 0) continue;  // A head that has not moved reads nothing.
        state.cache_.Energies(reader, row_features + reader * F, 0, count, weights);
        if (options_.lookback == Lookback::kSoftmax) {
          SoftmaxInPlace(weights, count);
        } else {
          float sum = 0;
          for (int64_t p = 0; p < count; ++p) sum += weights[p];
          const float scale = 1.0f / std::max(sum, options_.floor);
          for (int64_t p = 0; p < count; ++p) weights[p] *= scale;
        }
      }
      state.cache_.AddValues(reader, weights, 0, count, head_out);
    }
  }
}

void MonotonicAttention::Step(const Projected&, absl::Span<const AttentionRow>, StepPast, float*,
                              Workspace&) const {
  throw std::logic_error("monotonic attention is cross-attention only");
}

}  // namespace leapstream
