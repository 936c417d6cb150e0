#include "model/engine/speech/relative_attention.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace leapstream {

RelativeAttention::RelativeAttention(const Parameters& parameters, int64_t heads, int64_t d)
    : heads_(heads),
      d_(d),
      positions_(parameters.Matrix("positions", {heads * d, heads * d})),
      u_(parameters.Values("bias_u", {heads, d})),
      v_(parameters.Values("bias_v", {heads, d})) {}

void RelativeAttention::Append(const float* keys, const float* values,
                               absl::Span<const AttentionRow> rows, Workspace& /*scratch*/) const {
  const int64_t width = heads_ * d_;
  ForEachRow(rows, [&](int64_t r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(keys + r * width, values + r * width);
    cache.Settle();
  });
}

void RelativeAttention::AppendPositions(int64_t length, KeyValueCache* positions,
                                        Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = heads_ * d_;
  const int64_t count = 2 * length - 1;
  float* const rows = scratch.Floats(count * width);
  for (int64_t m = 0; 2 * m < width; ++m) {
    const float frequency = std::exp(static_cast<float>(2 * m) *
                                     -(std::log(10000.0f) / static_cast<float>(width)));
    for (int64_t r = 0; r < count; ++r) {
      const float angle = static_cast<float>(length - 1 - r) * frequency;
      rows[r * width + 2 * m] = std::sin(angle);
      if (2 * m + 1 < width) rows[r * width + 2 * m + 1] = std::cos(angle);
    }
  }
  float* const projected = scratch.Floats(count * width);
  positions_.Apply(rows, count, projected, scratch);
  // A cache packs keys for products with queries; there are no values.
  for (int64_t r = 0; r < count; ++r) positions->Append(projected + r * width, projected);
}

void RelativeAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows,
                               float* out, Workspace& scratch) const {
  int64_t most = 0;
  for (const AttentionRow& row : rows) {
    most = std::max(most, static_cast<const KeyValueCache&>(*row.state).length());
  }
  if (most == 0) return;
  KeyValueCache positions(heads_, d_, 0);
  AppendPositions(most, &positions, scratch);
  const int64_t width = heads_ * d_;
  ForEachRow(rows, [&](int64_t r) {
    AttendRow(rows[r], queries + r * width, positions, most, out + r * width);
  });
}

void RelativeAttention::AttendRow(const AttentionRow& row, const float* query,
                                  const KeyValueCache& positions, int64_t most, float* out) const {
  static thread_local Workspace scratch;
  const Workspace::Scope scope(scratch);
  const auto& cache = static_cast<const KeyValueCache&>(*row.state);
  const int64_t length = cache.length();
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d_)));
  // Key j has the distance row.position - j, which is position most - 1 - row.position + j.
  const int64_t begin = most - 1 - row.position;
  const int64_t first = begin / KeyValueCache::kBlock * KeyValueCache::kBlock;
  const int64_t seen = begin - first + length;
  float* const by_content = scratch.Floats(d_);
  float* const by_position = scratch.Floats(d_);
  float* const energies = scratch.Floats(KeyValueCache::Rounded(length));
  float* const distances = scratch.Floats(KeyValueCache::Rounded(seen));
  std::fill_n(out, heads_ * d_, 0.0f);
  for (int64_t h = 0; h < heads_; ++h) {
    for (int64_t i = 0; i < d_; ++i) {
      const float q = query[h * d_ + i];
      by_content[i] = (q + u_[h * d_ + i]) * scale;
      by_position[i] = (q + v_[h * d_ + i]) * scale;
    }
    cache.Energies(h, by_content, 0, length, energies);
    positions.Energies(h, by_position, first, seen, distances);
    for (int64_t j = 0; j < length; ++j) energies[j] += distances[begin - first + j];
    SoftmaxInPlace(energies, length);
    cache.AddValues(h, energies, 0, length, out + h * d_);
  }
}

void RelativeAttention::Step(const Projected& /*x*/, absl::Span<const AttentionRow> /*rows*/,
                             StepPast /*past*/, float* /*out*/, Workspace& /*scratch*/) const {
  LEAPSTREAM_CHECK(false);
}

}  // namespace leapstream
