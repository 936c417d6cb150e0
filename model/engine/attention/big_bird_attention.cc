#include "model/engine/attention/big_bird_attention.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <stdexcept>

#include "base/check.h"
#include "model/engine/attention/key_value_cache.h"

namespace leapstream {

std::unique_ptr<AttentionState> BigBirdAttention::NewState() const {
  LEAPSTREAM_CHECK(block_ > 0 && block_ % KeyValueCache::kBlock == 0);
  return std::make_unique<KeyValueCache>(heads_, d_, d_);
}

void BigBirdAttention::Append(const float* keys, const float* values,
                              absl::Span<const AttentionRow> rows, Workspace&) const {
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& cache = static_cast<KeyValueCache&>(*rows[r].state);
    cache.Append(keys + r * heads_ * d_, values + r * heads_ * d_);
    cache.Settle();
  }
}

std::vector<int64_t> BigBirdAttention::BlocksSeen(int64_t query, int64_t blocks) const {
  std::set<int64_t> seen = {0, blocks - 1};
  for (int64_t b = std::max<int64_t>(query - 1, 0); b <= std::min(query + 1, blocks - 1); ++b) {
    seen.insert(b);
  }
  const auto goal = std::min<size_t>(seen.size() + random_blocks_, blocks);
  const bool global = query == 0 || query == blocks - 1;
  std::minstd_rand random(static_cast<uint32_t>(query + 1));
  for (int64_t b = 0; global && b < blocks; ++b) seen.insert(b);
  while (seen.size() < goal) seen.insert(static_cast<int64_t>(random() % blocks));
  return std::vector<int64_t>(seen.begin(), seen.end());
}

void BigBirdAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
                              Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d_));
  float* query = scratch.Floats(d_);
  int64_t last_query = -1;
  int64_t last_blocks = -1;
  std::vector<int64_t> seen;
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto& cache = static_cast<const KeyValueCache&>(*rows[r].state);
    const int64_t length = cache.length();
    const int64_t blocks = (length + block_ - 1) / block_;
    const int64_t query_block = rows[r].position / block_;
    if (query_block != last_query || blocks != last_blocks) seen = BlocksSeen(query_block, blocks);
    last_query = query_block;
    last_blocks = blocks;
    for (int64_t h = 0; h < heads_; ++h) {
      const int64_t i = static_cast<int64_t>(r) * heads_ + h;
      for (int64_t j = 0; j < d_; ++j) query[j] = scale * queries[i * d_ + j];
      // The weights of the blocks seen lie one block after the other; only the last block may be
      // cut short.
      const Workspace::Scope head_scope(scratch);
      float* weights = scratch.Floats(static_cast<int64_t>(seen.size()) * block_);
      int64_t count = 0;
      for (const int64_t b : seen) {
        const int64_t size = std::min(block_, length - b * block_);
        cache.Energies(h, query, b * block_, size, weights + count);
        count += size;
      }
      SoftmaxInPlace(weights, count);
      float* head_out = out + i * d_;
      std::fill_n(head_out, d_, 0.0f);
      count = 0;
      for (const int64_t b : seen) {
        const int64_t size = std::min(block_, length - b * block_);
        cache.AddValues(h, weights + count, b * block_, size, head_out);
        count += size;
      }
    }
  }
}

void BigBirdAttention::Step(const Projected&, absl::Span<const AttentionRow>, StepPast, float*,
                            Workspace&) const {
  throw std::logic_error("BigBird attention is not causal: it serves bidirectional encoders only");
}

}  // namespace leapstream
