#include "model/engine/attention/softmax_attention.h"

#include <algorithm>

#include "model/engine/attention/key_value_cache.h"

namespace leapstream {

std::unique_ptr<AttentionState> SoftmaxAttention::NewState() const {
  return std::make_unique<KeyValueCache>(heads_, features_->width(), d_);
}

void SoftmaxAttention::Append(const float* keys, const float* values,
                              absl::Span<const AttentionRow> rows, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Keys(keys, rows, features, scratch);
  ForEachRow(rows, [&](int64_t r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(features + r * width, values + r * heads_ * d_);
    cache.Settle();
  });
}

void SoftmaxAttention::AttendRow(const AttentionState& state, const float* features,
                                 float* out) const {
  static thread_local Workspace scratch;
  const Workspace::Scope scope(scratch);
  const auto& cache = static_cast<const KeyValueCache&>(state);
  const int64_t length = cache.length();
  std::fill_n(out, heads_ * d_, 0.0f);
  if (length == 0) return;
  float* weights = scratch.Floats(KeyValueCache::Rounded(length));
  for (int64_t h = 0; h < heads_; ++h) {
    cache.Energies(h, features + h * features_->width(), 0, length, weights);
    SoftmaxInPlace(weights, length);
    cache.AddValues(h, weights, 0, length, out + h * d_);
  }
}

void SoftmaxAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
                              Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Queries(queries, rows, features, scratch);
  ForEachRow(rows, [&](int64_t r) {
    float* row_out = out + r * heads_ * d_;
    if (rows[r].state == nullptr) {
      std::fill_n(row_out, heads_ * d_, 0.0f);
    } else {
      AttendRow(*rows[r].state, features + r * width, row_out);
    }
  });
}

void SoftmaxAttention::Step(const Projected& x, absl::Span<const AttentionRow> rows, Past past,
                            float* out, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* query = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  float* key = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Queries(x.queries, rows, query, scratch);
  features_->Keys(x.keys, rows, key, scratch);
  ForEachRow(rows, [&](int64_t r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(key + r * width, x.values + r * heads_ * d_);
    AttendRow(cache, query + r * width, out + r * heads_ * d_);
    if (past == Past::kSettled) cache.Settle();
  });
}

}  // namespace leapstream
