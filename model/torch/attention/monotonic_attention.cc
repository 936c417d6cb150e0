#include "model/torch/attention/monotonic_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <c10/util/Exception.h>
#include "model/torch/attention/key_value_cache.h"
#include "model/torch/attention/leap_features.h"

namespace leapstream {

// The cache has 2 H "heads" when there are two projections: H whose keys move the heads, and H
// whose keys read. Values lie with the last H.
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
  // The source is never provisional, only the heads' places.
  void Settle() override { settled_step_ = step_; }
  void Drop() override { step_ = settled_step_; }
  bool wants_source() const override { return wants_source_; }
  int64_t bytes() const override { return cache_.bytes(); }

 private:
  friend class MonotonicAttention;
  KeyValueCache cache_;
  std::vector<int64_t> step_;  // Where each head stands; as many positions as there are: past all.
  std::vector<int64_t> settled_step_;
  bool wants_source_ = false;
};

std::unique_ptr<AttentionState> MonotonicAttention::NewState() const {
  return std::make_unique<State>(options_.heads, projections(), features_->width(), options_.d);
}

void MonotonicAttention::Append(const float* keys, const float* values,
                                absl::Span<const AttentionRow> rows) const {
  const int64_t width = options_.heads * options_.d;
  const int64_t n = projections();
  // [R, n, H, d] is to the feature map n rows of H heads.
  std::vector<AttentionRow> each;
  for (const AttentionRow& row : rows) each.insert(each.end(), n, row);
  const std::vector<float> features = features_->Keys(keys, each);
  std::vector<float> value(n * width);
  for (size_t r = 0; r < rows.size(); ++r) {
    std::copy_n(values + r * width, width, value.end() - width);
    static_cast<State&>(*rows[r].state)
        .cache_.Append(features.data() + r * n * options_.heads * features_->width(), value.data());
  }
}

void MonotonicAttention::MoveHeads(const float* features, State& state) const {
  const int64_t length = state.cache_.length();
  const int64_t ceiling = options_.mass_preservation ? length - 1 : length;
  std::vector<int64_t>& step = state.step_;
  // In the fork, one head at the ceiling takes all others there (reference quirk 12).
  if (std::any_of(step.begin(), step.end(), [&](int64_t s) { return s >= ceiling; })) {
    std::fill(step.begin(), step.end(), ceiling);
  }
  std::vector<float> energies(KeyValueCache::Rounded(length));
  state.wants_source_ = false;
  for (int64_t h = 0; h < options_.heads; ++h) {
    state.cache_.Energies(h, features + h * features_->width(), 0, length, energies.data());
    const auto moves_on = [&](int64_t position) {
      const float energy = energies[std::min(position, length - 1)] + options_.energy_bias;
      return 1.0f / (1.0f + std::exp(-energy)) < 0.5f;
    };
    while (step[h] < ceiling && moves_on(step[h])) ++step[h];
    if (step[h] == ceiling && moves_on(step[h])) state.wants_source_ = true;
  }
}

void MonotonicAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows,
                                float* out) const {
  const int64_t n = projections();
  std::vector<AttentionRow> each;
  for (const AttentionRow& row : rows) each.insert(each.end(), n, row);
  const std::vector<float> features = features_->Queries(queries, each);
  const int64_t F = features_->width();
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& state = static_cast<State&>(*rows[r].state);
    const float* row_features = features.data() + r * n * options_.heads * F;
    MoveHeads(row_features, state);
    const int64_t length = state.cache_.length();
    std::vector<float> weights(KeyValueCache::Rounded(length));
    for (int64_t h = 0; h < options_.heads; ++h) {
      float* head_out = out + (r * options_.heads + h) * options_.d;
      std::fill_n(head_out, options_.d, 0.0f);
      const int64_t step = state.step_[h];
      const int64_t reader = (n - 1) * options_.heads + h;  // Its head in the cache.
      int64_t count = std::min(step, length - 1) + 1;       // Positions that it reads.
      if (options_.lookback == Lookback::kHard) {
        if (step == length) continue;  // Moved past the last position: reads nothing.
        std::fill(weights.begin(), weights.end(), 0.0f);
        weights[step] = 1;
      } else {
        if (step == 0) continue;  // A head that has not moved reads nothing.
        state.cache_.Energies(reader, row_features + reader * F, 0, count, weights.data());
        if (options_.lookback == Lookback::kSoftmax) {
          SoftmaxInPlace(weights.data(), count);
        } else {
          float sum = 0;
          for (int64_t p = 0; p < count; ++p) sum += weights[p];
          const float scale = 1.0f / std::max(sum, kLeapNormaliserFloor);
          for (int64_t p = 0; p < count; ++p) weights[p] *= scale;
        }
      }
      state.cache_.AddValues(reader, weights.data(), 0, count, head_out);
    }
  }
}

void MonotonicAttention::Step(const float*, const float*, const float*,
                              absl::Span<const AttentionRow>, Past, float*) const {
  TORCH_CHECK(false, "monotonic attention is cross-attention only");
}

}  // namespace leapstream
