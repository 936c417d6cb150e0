#include "model/engine/attention/softmax_attention.h"

#include <algorithm>

#include "model/engine/attention/key_value_cache.h"

namespace leapstream {
namespace {

// The most rows that attend side by side, so that keys and values are read once for all of them.
constexpr int64_t kTogether = 16;

// Copies of one state may be in one batch, and other threads may serve them. Those with memory to
// spare leave the shared block to the others, so that none is allocated.
void OwnBlocks(absl::Span<const AttentionRow> rows) {
  for (const bool spare : {true, false}) {
    for (const AttentionRow& row : rows) {
      auto& cache = static_cast<KeyValueCache&>(*row.state);
      if (cache.has_spare() == spare) cache.Own();
    }
  }
}

}  // namespace

std::unique_ptr<AttentionState> SoftmaxAttention::NewState() const {
  return std::make_unique<KeyValueCache>(heads_, features_->width(), d_);
}

void SoftmaxAttention::Append(const float* keys, const float* values,
                              absl::Span<const AttentionRow> rows, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Keys(keys, rows, features, scratch);
  OwnBlocks(rows);
  ForEachRow(rows, [&](int64_t r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(features + r * width, values + r * heads_ * d_);
    cache.Settle();
  });
}

void SoftmaxAttention::AttendRows(const AttentionState& state, const float* features, int64_t count,
                                  float* out) const {
  static thread_local Workspace scratch;
  const Workspace::Scope scope(scratch);
  const auto& cache = static_cast<const KeyValueCache&>(state);
  const int64_t length = cache.length();
  const int64_t F = features_->width();
  std::fill_n(out, count * heads_ * d_, 0.0f);
  if (length == 0) return;
  const int64_t width = KeyValueCache::Rounded(length);
  float* queries = scratch.Floats(count * F);
  float* weights = scratch.Floats(count * width);
  for (int64_t h = 0; h < heads_; ++h) {
    for (int64_t r = 0; r < count; ++r) {
      std::copy_n(features + (r * heads_ + h) * F, F, queries + r * F);
    }
    cache.AllEnergies(h, queries, count, weights);
    for (int64_t r = 0; r < count; ++r) SoftmaxInPlace(weights + r * width, length);
    cache.AddAllValues(h, weights, {out + h * d_, count, heads_ * d_});
  }
}

void SoftmaxAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
                              Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Queries(queries, rows, features, scratch);
  ForEachRun(rows, [&](int64_t begin, int64_t end) {
    if (rows[begin].state == nullptr) {
      std::fill_n(out + begin * heads_ * d_, heads_ * d_, 0.0f);
      return;
    }
    for (int64_t r = begin; r < end; r += kTogether) {
      AttendRows(*rows[begin].state, features + r * width, std::min(kTogether, end - r),
                 out + r * heads_ * d_);
    }
  });
}

int64_t SoftmaxAttention::AddWeights(const float* queries, const AttentionRow& row,
                                     absl::Span<const int> heads, std::vector<float>* sums,
                                     Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto& cache = static_cast<const KeyValueCache&>(*row.state);
  const int64_t length = cache.length();
  const int64_t F = features_->width();
  float* features = scratch.Floats(heads_ * F);
  features_->Queries(queries, {row}, features, scratch);
  float* weights = scratch.Floats(KeyValueCache::Rounded(length));
  sums->assign(static_cast<size_t>(length), 0.0f);
  for (const int h : heads) {
    cache.AllEnergies(h, features + h * F, 1, weights);
    SoftmaxInPlace(weights, length);
    for (int64_t p = 0; p < length; ++p) (*sums)[p] += weights[p];
  }
  return length;
}

void SoftmaxAttention::Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past,
                            float* out, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * features_->width();
  float* query = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  float* key = scratch.Floats(static_cast<int64_t>(rows.size()) * width);
  features_->Queries(x.queries, rows, query, scratch);
  features_->Keys(x.keys, rows, key, scratch);
  OwnBlocks(rows);
  ForEachRow(rows, [&](int64_t r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(key + r * width, x.values + r * heads_ * d_);
    AttendRows(cache, query + r * width, 1, out + r * heads_ * d_);
    if (past == StepPast::kSettled && !rows[r].provisional) cache.Settle();
  });
}

}  // namespace leapstream
