#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_BIG_BIRD_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_BIG_BIRD_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "model/engine/attention/attention.h"

namespace leapstream {

// BigBird attention in its ITC form (Zaheer et al. 2020): bidirectional, with a soft-max over some
// blocks of positions only. A query sees the first and the last block, its own block with the two
// neighbours, and `random_blocks` others, which are the same for every head and run. Queries of the
// first and the last block see all blocks. For encoders: the caller appends the whole segment, then
// attends. Step() throws, since a block sees positions after it.
class BigBirdAttention : public AttentionKind {
 public:
  // block: positions, a multiple of KeyValueCache::kBlock.
  BigBirdAttention(int64_t heads, int64_t d, int64_t block, int64_t random_blocks)
      : heads_(heads), d_(d), block_(block), random_blocks_(random_blocks) {}

  std::unique_ptr<AttentionState> NewState() const override;
  void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
              Workspace& scratch) const override;
  void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
              Workspace& scratch) const override;
  void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past, float* out,
            Workspace& scratch) const override;

  // The blocks, in order, that block `query` of `blocks` sees.
  std::vector<int64_t> BlocksSeen(int64_t query, int64_t blocks) const;

 private:
  const int64_t heads_;
  const int64_t d_;
  const int64_t block_;
  const int64_t random_blocks_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_BIG_BIRD_ATTENTION_H_
