#include "model/torch/attention/linear_attention.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include "model/torch/kernels/simd.h"

namespace leapstream {

// The sums, and beside them the positions that a later Step() will fold in or that Drop() forgets:
// one, or as many as there are layers that share this state.
class LinearAttention::State : public AttentionState {
 public:
  State(int64_t sums, int64_t position_floats)
      : sums_(sums, 0.0f), position_floats_(position_floats) {
    held_.reserve(2 * position_floats);  // The newest and the one before, until that is folded in.
  }

  void Reset() override {
    if (used_) std::fill(sums_.begin(), sums_.end(), 0.0f);
    used_ = false;
    held_.clear();
    settled_ = 0;
  }
  void Settle() override { settled_ = held(); }
  void Drop() override { held_.resize(settled_ * position_floats_); }
  int64_t bytes() const override {
    return static_cast<int64_t>((sums_.capacity() + held_.capacity()) * sizeof(float));
  }

 private:
  friend class LinearAttention;

  int64_t held() const { return static_cast<int64_t>(held_.size()) / position_floats_; }

  std::vector<float> sums_;  // [H, F V + F]
  bool used_ = false;        // sums_ are not all zero.
  std::vector<float> held_;  // Positions: [held(), H F + H V], features then values.
  int64_t settled_ = 0;      // How many of them are part of the past.
  const int64_t position_floats_;
};

std::unique_ptr<AttentionState> LinearAttention::NewState() const {
  return std::make_unique<State>(heads_ * HeadFloats(), heads_ * (features_->width() + d_));
}

void LinearAttention::Append(const float* keys, const float* values,
                             absl::Span<const AttentionRow> rows) const {
  const std::vector<float> features = features_->Keys(keys, rows);
  const int64_t F = features_->width();
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& state = static_cast<State&>(*rows[r].state);
    state.used_ = true;
    for (int64_t h = 0; h < heads_; ++h) {
      const int64_t i = static_cast<int64_t>(r) * heads_ + h;
      Simd().linear_append(state.sums_.data() + h * HeadFloats(), F, d_, features.data() + i * F,
                           values + i * d_);
    }
  }
}

void LinearAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows,
                             float* out) const {
  const std::vector<float> features = features_->Queries(queries, rows);
  const int64_t F = features_->width();
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t h = 0; h < heads_; ++h) {
      const int64_t i = static_cast<int64_t>(r) * heads_ + h;
      float* head_out = out + i * d_;
      std::fill_n(head_out, d_, 0.0f);
      if (rows[r].state == nullptr) continue;
      LinearStep step;
      step.query = features.data() + i * F;
      float* sums = static_cast<State&>(*rows[r].state).sums_.data() + h * HeadFloats();
      const float denominator = Simd().linear_attend(sums, F, d_, step, head_out);
      const float scale = 1.0f / std::max(denominator, floor_);
      for (int64_t j = 0; j < d_; ++j) head_out[j] *= scale;
    }
  }
}

void LinearAttention::Step(const float* queries, const float* keys, const float* values,
                           absl::Span<const AttentionRow> rows, Past past, float* out) const {
  const std::vector<float> query = features_->Queries(queries, rows);
  const std::vector<float> key = features_->Keys(keys, rows);
  const int64_t F = features_->width();
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& state = static_cast<State&>(*rows[r].state);
    const int64_t first = static_cast<int64_t>(r) * heads_;  // Of this row's heads.
    const float* own_key = key.data() + first * F;
    const float* own_value = values + first * d_;
    state.held_.insert(state.held_.end(), own_key, own_key + heads_ * F);
    state.held_.insert(state.held_.end(), own_value, own_value + heads_ * d_);
    const auto held_key = [&](int64_t n, int64_t h) {
      return state.held_.data() + n * state.position_floats_ + h * F;
    };
    const auto held_value = [&](int64_t n, int64_t h) {
      return state.held_.data() + n * state.position_floats_ + heads_ * F + h * d_;
    };
    for (int64_t h = 0; h < heads_; ++h) {
      float* sums = state.sums_.data() + h * HeadFloats();
      float* head_out = out + (first + h) * d_;
      std::fill_n(head_out, d_, 0.0f);
      LinearStep step;
      step.query = query.data() + (first + h) * F;
      if (state.settled_ > 0) {
        for (int64_t n = 0; n + 1 < state.settled_; ++n) {
          Simd().linear_append(sums, F, d_, held_key(n, h), held_value(n, h));
        }
        step.past_key = held_key(state.settled_ - 1, h);
        step.past_value = held_value(state.settled_ - 1, h);
      }
      float denominator = Simd().linear_attend(sums, F, d_, step, head_out);
      for (int64_t n = state.settled_; n < state.held(); ++n) {
        float weight = 0;
        for (int64_t i = 0; i < F; ++i) weight += step.query[i] * held_key(n, h)[i];
        denominator += weight;
        for (int64_t j = 0; j < d_; ++j) head_out[j] += weight * held_value(n, h)[j];
      }
      const float scale = 1.0f / std::max(denominator, floor_);
      for (int64_t j = 0; j < d_; ++j) head_out[j] *= scale;
    }
    state.used_ = state.used_ || state.settled_ > 0;
    state.held_.erase(state.held_.begin(),
                      state.held_.begin() + state.settled_ * state.position_floats_);
    state.settled_ = 0;
    if (past == Past::kSettled) state.Settle();
  }
}

at::Tensor LinearAttention::Sums(const AttentionState& state) const {
  const auto& own = static_cast<const State&>(state);
  const int64_t F = features_->width();
  at::Tensor sums = at::empty({heads_, HeadFloats()});
  std::copy(own.sums_.begin(), own.sums_.end(), sums.data_ptr<float>());
  for (int64_t n = 0; n < own.held(); ++n) {
    const float* position = own.held_.data() + n * own.position_floats_;
    for (int64_t h = 0; h < heads_; ++h) {
      Simd().linear_append(sums.data_ptr<float>() + h * HeadFloats(), F, d_, position + h * F,
                           position + heads_ * F + h * d_);
    }
  }
  return sums;
}

}  // namespace leapstream
