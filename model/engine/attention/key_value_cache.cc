#include "model/engine/attention/key_value_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "model/engine/attention/state_bytes.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {

static_assert(KeyValueCache::kBlock == kPanel, "keys of a block are a panel of the product");

KeyValueCache::KeyValueCache(const KeyValueCache& other)
    : heads_(other.heads_),
      K_(other.K_),
      V_(other.V_),
      length_(other.length_),
      settled_(other.settled_),
      blocks_(other.blocks_.begin(), other.blocks_.begin() + Rounded(other.length_) / kBlock) {}

void KeyValueCache::CopyFrom(const AttentionState& any) {
  const auto& other = static_cast<const KeyValueCache&>(any);
  for (Block& block : blocks_) {
    if (spare_.size() == kSpareBlocks) break;
    if (block.use_count() == 1) spare_.push_back(std::move(block));
  }
  blocks_.assign(other.blocks_.begin(), other.blocks_.begin() + Rounded(other.length_) / kBlock);
  length_ = other.length_;
  settled_ = other.settled_;
}

void KeyValueCache::Reset() {
  length_ = settled_ = 0;
  blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(),
                               [](const Block& block) { return block.use_count() > 1; }),
                blocks_.end());
}

int64_t KeyValueCache::bytes() const {
  const auto block_bytes = BlockFloats() * static_cast<int64_t>(sizeof(float));
  auto bytes = static_cast<int64_t>(spare_.size()) * block_bytes;
  for (const Block& block : blocks_) bytes += block_bytes / block.use_count();
  return bytes;
}

KeyValueCache::Block KeyValueCache::TakeBlock() {
  if (spare_.empty()) return Block(new float[BlockFloats()]());
  Block block = std::move(spare_.back());
  spare_.pop_back();
  return block;
}

void KeyValueCache::Own() {
  const size_t index = length_ / kBlock;
  if (index == blocks_.size()) return blocks_.push_back(TakeBlock());
  if (blocks_[index].use_count() == 1) return;
  Block own = TakeBlock();
  if (length_ % kBlock > 0) std::copy_n(blocks_[index].get(), BlockFloats(), own.get());
  blocks_[index] = std::move(own);
}

void KeyValueCache::Append(const float* key, const float* value) {
  Own();
  const int64_t block = length_ / kBlock;
  const int64_t slot = length_ % kBlock;
  for (int64_t h = 0; h < heads_; ++h) {
    float* keys = blocks_[block].get() + h * kBlock * (K_ + V_);
    for (int64_t i = 0; i < K_; ++i) keys[i * kBlock + slot] = key[h * K_ + i];
    std::memcpy(keys + kBlock * K_ + slot * V_, value + h * V_, V_ * sizeof(float));
  }
  ++length_;
}

void KeyValueCache::Save(std::string* bytes) const {
  AppendNumber(length_, bytes);
  std::vector<float> key(static_cast<size_t>(K_));
  for (int64_t p = 0; p < length_; ++p) {
    for (int64_t h = 0; h < heads_; ++h) {
      const float* keys = blocks_[p / kBlock].get() + h * kBlock * (K_ + V_);
      for (int64_t i = 0; i < K_; ++i) key[i] = keys[i * kBlock + p % kBlock];
      AppendFloats(key.data(), K_, bytes);
    }
    for (int64_t h = 0; h < heads_; ++h) {
      const float* keys = blocks_[p / kBlock].get() + h * kBlock * (K_ + V_);
      AppendFloats(keys + kBlock * K_ + p % kBlock * V_, V_, bytes);
    }
  }
}

bool KeyValueCache::Load(int64_t length, absl::string_view* bytes) {
  Reset();
  int64_t count = 0;
  const auto width = static_cast<size_t>(heads_ * (K_ + V_));
  // A layer that shares its cache has more positions than the text.
  const auto most = static_cast<int64_t>(bytes->size() / (width * sizeof(float)));
  if (!TakeNumber(bytes, most, &count) || count < length) return false;
  std::vector<float> position(width);
  for (int64_t p = 0; p < count; ++p) {
    if (!TakeFloats(bytes, heads_ * (K_ + V_), position.data())) return false;
    Append(position.data(), position.data() + heads_ * K_);
  }
  Settle();
  return true;
}

void KeyValueCache::Energies(int64_t head, const float* query, int64_t first, int64_t count,
                             float* energies) const {
  static constexpr float kNoBias[kBlock] = {};
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const float* keys = blocks_[(first + begin) / kBlock].get() + head * kBlock * (K_ + V_);
    Product product;
    product.x = query;
    product.rows = 1;
    product.in = K_;
    product.panels = keys;
    product.end = 1;
    product.bias = kNoBias;
    product.out = kBlock;
    product.y = energies + begin;
    Simd().multiply(product);
  }
}

void KeyValueCache::AddValues(int64_t head, const float* weights, int64_t first, int64_t count,
                              float* out) const {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const float* keys = blocks_[(first + begin) / kBlock].get() + head * kBlock * (K_ + V_);
    Simd().add_weighted(weights + begin, keys + kBlock * K_, std::min(kBlock, count - begin), V_,
                        out);
  }
}

void KeyValueCache::AllEnergies(int64_t head, const float* queries, int64_t rows,
                                float* energies) const {
  static constexpr float kNoBias[kBlock] = {};
  static thread_local std::vector<float> block;  // [rows, kBlock]. It never shrinks.
  block.resize(std::max<size_t>(block.size(), rows * kBlock));
  if (rows == 1) return Energies(head, queries, 0, length_, energies);
  const int64_t width = Rounded(length_);
  for (int64_t begin = 0; begin < length_; begin += kBlock) {
    Product product;
    product.x = queries;
    product.rows = rows;
    product.in = K_;
    product.panels = blocks_[begin / kBlock].get() + head * kBlock * (K_ + V_);
    product.end = 1;
    product.bias = kNoBias;
    product.out = kBlock;
    product.y = block.data();
    Simd().multiply(product);
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(energies + r * width + begin, block.data() + r * kBlock, kBlock * sizeof(float));
    }
  }
}

void KeyValueCache::AddAllValues(int64_t head, const float* weights, const Rows& rows) const {
  const int64_t width = Rounded(length_);
  for (int64_t begin = 0; begin < length_; begin += kBlock) {
    const float* keys = blocks_[begin / kBlock].get() + head * kBlock * (K_ + V_);
    for (int64_t r = 0; r < rows.count; ++r) {  // A block's values stay in the first-level cache.
      Simd().add_weighted(weights + r * width + begin, keys + kBlock * K_,
                          std::min(kBlock, length_ - begin), V_, rows.out + r * rows.stride);
    }
  }
}

void SoftmaxInPlace(float* energies, int64_t count) {
  float most = energies[0];
  for (int64_t p = 1; p < count; ++p) most = std::max(most, energies[p]);
  const float scale = 1.0f / Simd().sum_exp(energies, count, most, energies);
  for (int64_t p = 0; p < count; ++p) energies[p] *= scale;
}

}  // namespace leapstream
