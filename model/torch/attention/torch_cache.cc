#include "model/torch/attention/torch_cache.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include "model/engine/attention/state_bytes.h"
#include "model/torch/torch_call.h"

namespace leapstream {
namespace {

enum CachePart { kCacheKeys, kCacheValues };

// A group of so few positions, those that sessions lack included, is not worth dividing.
constexpr int64_t kFewPositions = 1 << 15;
// The most numbers that a group's keys, values and weights have in a layer, unless one session
// alone has more.
constexpr int64_t kNumbersTogether = 1 << 28;

int64_t BlocksFor(int64_t positions) {
  return (positions + TorchCacheState::kBlock - 1) / TorchCacheState::kBlock;
}

// Divides sessions whose caches have these lengths into groups of `most` positions, in which no
// session is far longer than another.
std::vector<std::vector<int64_t>> DivideSessions(const std::vector<int64_t>& lengths,
                                                 int64_t most) {
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t one, int64_t other) { return lengths[one] > lengths[other]; });
  std::vector<std::vector<int64_t>> groups;
  for (const int64_t b : order) {
    const auto fits = [&](const std::vector<int64_t>& group) {
      const int64_t longest = lengths[group[0]];
      const int64_t positions = longest * (static_cast<int64_t>(group.size()) + 1);
      return positions <= most && (positions <= kFewPositions || 2 * lengths[b] >= longest);
    };
    if (groups.empty() || !fits(groups.back())) groups.emplace_back();
    groups.back().push_back(b);
  }
  if (groups.size() == 1) std::sort(groups[0].begin(), groups[0].end());
  return groups;
}

// The places of heads [first, first + heads) of blocks [G, n], of which each has `all` heads: heads
// of one block are side by side. [G heads n], in this order.
at::Tensor HeadsOfBlocks(const at::Tensor& blocks, int64_t all, int64_t first, int64_t heads) {
  return (blocks.unsqueeze(1) * all +
          at::arange(first, first + heads, blocks.options()).view({-1, 1}))
      .flatten();
}

}  // namespace

int64_t TorchCacheState::bytes() const {
  int64_t bytes = sizeof(TorchCacheState);
  for (const DevicePool::BlockPointer& block : blocks_) {
    if (block != nullptr) bytes += block->bytes() / block.use_count();  // Null after an error.
  }
  return bytes;
}

void TorchCacheState::CopyFrom(const AttentionState& any) {
  const auto& other = static_cast<const TorchCacheState&>(any);
  blocks_ = other.blocks_;
  length_ = other.length_;
  settled_ = other.settled_;
}

void TorchCacheState::Own(int64_t count, DevicePool::Changes* changes) {
  blocks_.resize(std::max<size_t>(blocks_.size(), BlocksFor(length_ + count)));
  for (int64_t b = length_ / kBlock; b < BlocksFor(length_ + count); ++b) {
    pool_->Own(/*keeps=*/b * kBlock < length_, &blocks_[static_cast<size_t>(b)], changes);
  }
}

void TorchCacheState::Save(std::string* bytes) const {
  MutexLock lock(&pool_->context().mutex);
  const size_t before = bytes->size();
  const absl::Status status = TorchCall("saving a state", pool_->context().threads, [&] {
    const int64_t layers = pool_->part(kCacheKeys).size(0);
    for (int64_t l = 0; l < layers; ++l) {
      AppendNumber(length_, bytes);
      for (int64_t b = 0; b < BlocksFor(length_); ++b) {
        at::Tensor parts[2];  // [kBlock, heads, width]
        for (const CachePart part : {kCacheKeys, kCacheValues}) {
          parts[part] = pool_->layer(part, l)
                            .select(0, blocks_[static_cast<size_t>(b)]->index())
                            .transpose(0, 1)
                            .to(c10::Device("cpu"), at::kFloat)
                            .contiguous();
        }
        for (int64_t p = 0; p < std::min(kBlock, length_ - b * kBlock); ++p) {
          for (const at::Tensor& part : parts) {
            const int64_t width = part.size(1) * part.size(2);
            AppendFloats(part.data_ptr<float>() + p * width, width, bytes);
          }
        }
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) bytes->resize(before);  // No state: whoever loads it is told.
}

bool TorchCacheState::Load(int64_t length, absl::string_view* bytes) {
  MutexLock lock(&pool_->context().mutex);
  Reset();
  blocks_.clear();
  bool good = true;
  const absl::Status status = TorchCall("restoring a state", pool_->context().threads, [&] {
    const int64_t layers = pool_->part(kCacheKeys).size(0);
    int64_t widths[2];
    for (const CachePart part : {kCacheKeys, kCacheValues}) {
      widths[part] = pool_->part(part).size(2) * pool_->part(part).size(4);
    }
    const auto most =
        static_cast<int64_t>(bytes->size() / ((widths[0] + widths[1]) * sizeof(float)));
    for (int64_t l = 0; good && l < layers; ++l) {
      int64_t count = 0;
      // All layers have as many positions as the text.
      good = TakeNumber(bytes, most, &count) && count == length;
      if (!good) break;
      if (l == 0) {
        DevicePool::Changes changes;
        Own(length, &changes);
        pool_->Apply(changes);
      }
      for (int64_t b = 0; good && b < BlocksFor(length); ++b) {
        std::vector<float> floats[2];
        for (const CachePart part : {kCacheKeys, kCacheValues}) {
          floats[part].resize(static_cast<size_t>(kBlock * widths[part]));
        }
        for (int64_t p = 0; good && p < std::min(kBlock, length - b * kBlock); ++p) {
          for (const CachePart part : {kCacheKeys, kCacheValues}) {
            good = good && TakeFloats(bytes, widths[part], floats[part].data() + p * widths[part]);
          }
        }
        for (const CachePart part : {kCacheKeys, kCacheValues}) {
          at::Tensor to = pool_->layer(part, l).select(0, blocks_[static_cast<size_t>(b)]->index());
          to.copy_(pool_->context()
                       .Upload(floats[part].data(), {kBlock, to.size(0), to.size(2)})
                       .transpose(0, 1));
        }
      }
    }
    return absl::OkStatus();
  });
  if (!good || !status.ok()) return false;
  length_ = settled_ = length;
  return true;
}

std::shared_ptr<DevicePool> MakeCachePool(const TorchShape& shape, int64_t key_heads,
                                          std::shared_ptr<TorchContext> context) {
  const at::ScalarType type = context->type;
  const std::vector<DevicePool::Part> parts = {
      {{key_heads, TorchCacheState::kBlock, shape.F}, type},
      {{shape.heads, TorchCacheState::kBlock, shape.V}, type}};
  return std::make_shared<DevicePool>(std::move(context), shape.layers, parts);
}

TorchCaches::TorchCaches(DevicePool& pool, const TorchShape& shape, int64_t key_heads,
                         std::vector<TorchCacheState*> states, const RowGrid& grid, bool writes)
    : pool_(pool), shape_(shape), key_heads_(key_heads), states_(std::move(states)), grid_(grid) {
  constexpr int64_t kBlock = TorchCacheState::kBlock;
  const auto sessions = static_cast<int64_t>(states_.size());
  const auto length_of = [&](int64_t b) {
    return states_[b]->length() + (writes ? grid.counts()[b] : 0);
  };
  if (writes) {
    DevicePool::Changes changes;
    for (int64_t b = 0; b < sessions; ++b) states_[b]->Own(grid.counts()[b], &changes);
    pool.Apply(changes);
  }
  std::vector<int64_t> lengths, sees, written;
  for (int64_t b = 0; b < sessions; ++b) {
    const int64_t length = length_of(b);
    lengths.push_back(BlocksFor(length) * kBlock);
    for (int64_t t = 0; t < grid.most(); ++t) {
      sees.push_back(writes ? std::min(states_[b]->length() + t + 1, length) : length);
    }
    for (int64_t t = 0; writes && t < grid.counts()[b]; ++t) {
      const int64_t position = states_[b]->length() + t;
      written.push_back(states_[b]->BlockOf(position));
      written.push_back(position % kBlock);
    }
  }
  const TorchContext& context = pool.context();
  if (writes) {
    const at::Tensor at = context.Upload(written).view({grid.rows(), 2, 1});
    const auto places = [&](int64_t heads) {
      return ((at.select(1, 0) * heads + at::arange(heads, at.options())) * kBlock +
              at.select(1, 1))
          .flatten();
    };
    written_keys_ = places(key_heads);
    written_values_ = key_heads == shape.heads ? written_keys_ : places(shape.heads);
  }
  const at::Tensor all_see = context.Upload(sees).view({sessions, 1, grid.most(), 1});
  // The weights of a row are there in two types, and behind the mask.
  const int64_t numbers = shape.heads * (shape.F + shape.V + 3 * grid.most());
  std::vector<int64_t> places(states_.size());
  int64_t place = 0;
  const auto groups = DivideSessions(lengths, kNumbersTogether / numbers);
  for (const std::vector<int64_t>& of : groups) {
    Group& group = groups_.emplace_back();
    if (groups.size() > 1) group.sessions = context.Upload(of);
    group.N = lengths[of[0]];
    for (const int64_t b : of) group.N = std::max(group.N, lengths[b]);
    std::vector<int64_t> blocks;
    for (const int64_t b : of) {
      places[b] = place++;
      for (int64_t position = 0; position < group.N; position += kBlock) {
        // Behind a session's last block, zeros are read and not seen.
        blocks.push_back(position < lengths[b] ? states_[b]->BlockOf(position)
                                               : DevicePool::kZeros);
      }
    }
    group.blocks = context.Upload(blocks).view({static_cast<int64_t>(of.size()), group.N / kBlock});
    group.keys = HeadsOfBlocks(group.blocks, key_heads, 0, key_heads);
    group.values = key_heads == shape.heads
                       ? group.keys
                       : HeadsOfBlocks(group.blocks, shape.heads, 0, shape.heads);
    group.hidden = at::arange(group.N, group.blocks.options()) >= group.Of(all_see);
  }
  if (groups.size() > 1) places_ = context.Upload(places);
}

at::Tensor TorchCaches::ByGroups(absl::FunctionRef<at::Tensor(const Group& group)> f) const {
  if (groups_.size() == 1) return f(groups_[0]);
  std::vector<at::Tensor> results;
  for (const Group& group : groups_) results.push_back(f(group));
  return at::cat(results).index_select(0, places_);
}

void TorchCaches::Write(int64_t layer, const at::Tensor& keys, const at::Tensor& values) {
  const auto write = [&](CachePart part, const at::Tensor& places, const at::Tensor& rows) {
    const at::Tensor all = pool_.layer(part, layer);  // [blocks, heads, kBlock, width]
    const int64_t width = all.size(3);
    all.view({-1, width}).index_copy_(0, places, rows.reshape({-1, width}).to(all.scalar_type()));
  };
  write(kCacheKeys, written_keys_, keys);
  write(kCacheValues, written_values_, values);
}

at::Tensor TorchCaches::Gather(const Group& group, size_t part, int64_t layer,
                               const at::Tensor& places, int64_t heads) const {
  const at::Tensor all = pool_.layer(part, layer);  // [blocks, heads, kBlock, width]
  return all.view({-1, TorchCacheState::kBlock * all.size(3)})
      .index_select(0, places)
      .view({group.blocks.size(0), heads, group.N, all.size(3)});
}

at::Tensor TorchCaches::Keys(const Group& group, int64_t layer, int64_t first,
                             int64_t heads) const {
  const at::Tensor places =
      heads == key_heads_ ? group.keys : HeadsOfBlocks(group.blocks, key_heads_, first, heads);
  return Gather(group, kCacheKeys, layer, places, heads);
}

at::Tensor TorchCaches::Values(const Group& group, int64_t layer) const {
  return Gather(group, kCacheValues, layer, group.values, shape_.heads);
}

at::Tensor TorchCaches::Weights(const Group& group, int64_t layer, const at::Tensor& query) const {
  const at::Tensor keys = Keys(group, layer, 0, key_heads_);
  return group.Of(query)
      .to(keys.scalar_type())
      .matmul(keys.transpose(-1, -2))
      .masked_fill_(group.hidden, -std::numeric_limits<float>::infinity())
      .softmax(-1, at::kFloat);
}

at::Tensor TorchCaches::Attend(int64_t layer, const at::Tensor& query) const {
  const at::Tensor grid = grid_.Spread(query).transpose(1, 2);  // [B, H, T, F]
  const at::Tensor out = ByGroups([&](const Group& group) {
    const at::Tensor values = Values(group, layer);
    return Weights(group, layer, grid).to(values.scalar_type()).matmul(values);
  });
  return grid_.Collect(out.transpose(1, 2));
}

at::Tensor TorchCaches::MostAttended(int64_t layer, const at::Tensor& query,
                                     const TorchLook& look) const {
  const at::Tensor grid = grid_.Spread(query).transpose(1, 2);
  const at::Tensor first = grid_.Spread(look.first).unsqueeze(-1);  // [B, T, 1]
  const at::Tensor end = grid_.Spread(look.end).unsqueeze(-1);
  return grid_.Collect(ByGroups([&](const Group& group) {
    const at::Tensor sums =
        Weights(group, layer, grid).index_select(1, look.heads).sum(1);  // [G, T, N]
    const at::Tensor places = at::arange(group.N, first.options());
    return sums.masked_fill((places < group.Of(first)) | (places >= group.Of(end)), -1).argmax(-1);
  }));
}

void TorchCaches::Close(const TorchPastCall::Kept& kept) {
  for (const int64_t b : kept.given_up) {
    const TorchCacheState& state = *states_[static_cast<size_t>(b)];
    const int64_t end = state.length() + grid_.counts()[static_cast<size_t>(b)];
    for (int64_t position = state.length(); position < end; ++position) {
      for (const CachePart part : {kCacheKeys, kCacheValues}) {
        pool_.part(part)
            .select(1, state.BlockOf(position))
            .select(2, position % TorchCacheState::kBlock)
            .zero_();
      }
    }
  }
  for (size_t b = 0; b < states_.size(); ++b) states_[b]->Keep(kept.settled[b], kept.open[b]);
}

class TorchCache::Call : public TorchPastCall {
 public:
  Call(const TorchCache& kind, absl::Span<AttentionState* const> states, const RowGrid& grid,
       Use use)
      : caches_(*kind.pool_, kind.shape_, kind.shape_.heads, Caches(states), grid,
                use != Use::kReads) {}

  at::Tensor Step(int64_t layer, const TorchHeads& heads) override {
    Append(layer, heads);
    return caches_.Attend(layer, heads.query);
  }
  void Append(int64_t layer, const TorchHeads& heads) override {
    caches_.Write(layer, heads.key, heads.value);
  }
  at::Tensor Attend(int64_t layer, const at::Tensor& query) override {
    return caches_.Attend(layer, query);
  }
  at::Tensor MostAttended(int64_t layer, const at::Tensor& query, const TorchLook& look) override {
    return caches_.MostAttended(layer, query, look);
  }
  void Close(const Kept& kept) override { caches_.Close(kept); }

 private:
  static std::vector<TorchCacheState*> Caches(absl::Span<AttentionState* const> states) {
    std::vector<TorchCacheState*> caches;
    for (AttentionState* state : states) caches.push_back(static_cast<TorchCacheState*>(state));
    return caches;
  }

  TorchCaches caches_;
};

std::unique_ptr<TorchPastCall> TorchCache::Open(absl::Span<AttentionState* const> states,
                                                const RowGrid& grid, Use use) const {
  return std::make_unique<Call>(*this, states, grid, use);
}

}  // namespace leapstream
