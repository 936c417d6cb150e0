#include "model/torch/attention/softmax_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include "model/torch/attention/key_value_cache.h"

namespace leapstream {

std::unique_ptr<AttentionState> SoftmaxAttention::NewState() const {
  return std::make_unique<KeyValueCache>(heads_, features_->width(), d_);
}

void SoftmaxAttention::Append(const float* keys, const float* values,
                              absl::Span<const AttentionRow> rows) const {
  const std::vector<float> features = features_->Keys(keys, rows);
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(features.data() + r * heads_ * features_->width(), values + r * heads_ * d_);
    cache.Settle();
  }
}

void SoftmaxAttention::AttendRow(const AttentionState& state, const float* features,
                                 float* out) const {
  const auto& cache = static_cast<const KeyValueCache&>(state);
  const int64_t length = cache.length();
  std::fill_n(out, heads_ * d_, 0.0f);
  if (length == 0) return;
  std::vector<float> weights(KeyValueCache::Rounded(length));
  for (int64_t h = 0; h < heads_; ++h) {
    cache.Energies(h, features + h * features_->width(), 0, length, weights.data());
    SoftmaxInPlace(weights.data(), length);
    cache.AddValues(h, weights.data(), 0, length, out + h * d_);
  }
}

void SoftmaxAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows,
                              float* out) const {
  const std::vector<float> features = features_->Queries(queries, rows);
  for (size_t r = 0; r < rows.size(); ++r) {
    float* row_out = out + r * heads_ * d_;
    if (rows[r].state == nullptr) {
      std::fill_n(row_out, heads_ * d_, 0.0f);
    } else {
      AttendRow(*rows[r].state, features.data() + r * heads_ * features_->width(), row_out);
    }
  }
}

void SoftmaxAttention::Step(const float* queries, const float* keys, const float* values,
                            absl::Span<const AttentionRow> rows, Past past, float* out) const {
  const std::vector<float> query = features_->Queries(queries, rows);
  const std::vector<float> key = features_->Keys(keys, rows);
  const int64_t row_features = heads_ * features_->width();
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(key.data() + r * row_features, values + r * heads_ * d_);
    AttendRow(cache, query.data() + r * row_features, out + r * heads_ * d_);
    if (past == Past::kSettled) cache.Settle();
  }
}

at::Tensor SoftmaxAttentionNaive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const at::Tensor& mask) {
  const at::Tensor energy = at::matmul(q, k.transpose(-1, -2));
  const at::Tensor seen =
      energy.masked_fill(mask.logical_not(), -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(seen, -1), v);
}

}  // namespace leapstream
