#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_KEY_VALUE_CACHE_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_KEY_VALUE_CACHE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/engine/attention/attention.h"

namespace leapstream {

// The keys and values of all positions of a segment, for the kinds of attention that need them. The
// cache grows by blocks of kBlock positions and keeps its memory. The session's limits bound its
// length. Copies share blocks: a block that others have, too, is copied before it is written to.
class KeyValueCache : public AttentionState {
 public:
  static constexpr int64_t kBlock = 16;

  // K and V: the widths of one head's keys and values.
  KeyValueCache(int64_t heads, int64_t K, int64_t V) : heads_(heads), K_(K), V_(V) {}
  // For Clone(). The copy has the blocks that it needs, and none that `other` has in reserve.
  KeyValueCache(const KeyValueCache& other);
  KeyValueCache& operator=(const KeyValueCache&) = delete;
  void CopyFrom(const AttentionState& other) override;

  void Reset() override;
  void Settle() override { settled_ = length_; }
  void Drop() override { length_ = settled_; }
  void Keep(int64_t settled) override {
    settled_ += settled;
    length_ = std::min(length_, settled_ + 1);
  }
  int64_t bytes() const override;
  // The keys and values of each position.
  void Save(std::string* bytes) const override;
  bool Load(int64_t length, absl::string_view* bytes) override;
  std::unique_ptr<AttentionState> Clone() const override {
    return std::make_unique<KeyValueCache>(*this);
  }

  int64_t length() const { return length_; }
  // Makes the block that the next Append() writes to this cache's own. Append() does it, too; a
  // caller whose threads append to several caches does it before, on one thread.
  void Own();
  bool has_spare() const { return !spare_.empty(); }  // Own() allocates nothing.
  // key: [H, K], value: [H, V].
  void Append(const float* key, const float* value);
  // energies[p] = query . key of position first + p, for p < Rounded(count). Energies of positions
  // beyond length() mean nothing. first: a multiple of kBlock. energies: [Rounded(count)].
  void Energies(int64_t head, const float* query, int64_t first, int64_t count,
                float* energies) const;
  // The energies of several queries [rows, K] with all positions: energies
  // [rows, Rounded(length())].
  void AllEnergies(int64_t head, const float* queries, int64_t rows, float* energies) const;
  static int64_t Rounded(int64_t count) { return (count + kBlock - 1) / kBlock * kBlock; }
  // out [V] += sum over p < count of weights[p] times the value of position first + p.
  void AddValues(int64_t head, const float* weights, int64_t first, int64_t count,
                 float* out) const;
  // The rows that AddAllValues() adds to: row r is at out + r * stride.
  struct Rows {
    float* out;
    int64_t count;
    int64_t stride;
  };
  // AddValues() for several rows and all positions. weights: [rows, Rounded(length())].
  void AddAllValues(int64_t head, const float* weights, const Rows& rows) const;

 private:
  using Block = std::shared_ptr<float[]>;
  static constexpr size_t kSpareBlocks = 2;

  int64_t BlockFloats() const { return kBlock * heads_ * (K_ + V_); }
  Block TakeBlock();

  const int64_t heads_;
  const int64_t K_;
  const int64_t V_;
  int64_t length_ = 0;
  int64_t settled_ = 0;
  // Each block has for each head the keys [K, kBlock], laid out as a panel of PackedLinear, then
  // the values [kBlock, V].
  std::vector<Block> blocks_;
  std::vector<Block> spare_;  // Own blocks that CopyFrom() has freed, kSpareBlocks at most.
};

// Turns energies into soft-max weights, in place.
void SoftmaxInPlace(float* energies, int64_t count);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_KEY_VALUE_CACHE_H_
