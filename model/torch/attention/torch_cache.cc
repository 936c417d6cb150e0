#include "model/torch/attention/torch_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include "model/engine/attention/state_bytes.h"
#include "model/torch/torch_call.h"

namespace leapstream {
namespace {

enum CachePart { kCacheKeys, kCacheValues };

int64_t BlocksFor(int64_t positions) {
  return (positions + TorchCacheState::kBlock - 1) / TorchCacheState::kBlock;
}

}  // namespace

int64_t TorchCacheState::bytes() const {
  int64_t bytes = sizeof(TorchCacheState);
  for (const DevicePool::BlockPointer& block : blocks_) bytes += block->bytes() / block.use_count();
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
  for (int64_t b = 0; b < sessions; ++b) {
    N_ = std::max(N_, BlocksFor(length_of(b)) * kBlock);
  }
  std::vector<int64_t> blocks, sees, written;
  for (int64_t b = 0; b < sessions; ++b) {
    const int64_t length = length_of(b);
    for (int64_t position = 0; position < N_; position += kBlock) {
      // Blocks behind a session's last are read and not seen.
      blocks.push_back(position < length ? states_[b]->BlockOf(position) : 0);
    }
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
  blocks_ = context.Upload(blocks).view({sessions, N_ / kBlock});
  hidden_ =
      at::arange(N_, blocks_.options()) >= context.Upload(sees).view({sessions, 1, grid.most(), 1});
  if (writes) written_ = context.Upload(written).view({grid.rows(), 2});
}

void TorchCaches::Write(int64_t layer, const at::Tensor& keys, const at::Tensor& values) {
  const auto write = [&](size_t part, const at::Tensor& rows) {
    const at::Tensor all = pool_.layer(part, layer);  // [blocks, heads, kBlock, width]
    const int64_t heads = all.size(1);
    const at::Tensor places =
        ((written_.select(1, 0).unsqueeze(1) * heads + at::arange(heads, written_.options())) *
             TorchCacheState::kBlock +
         written_.select(1, 1).unsqueeze(1))
            .flatten();
    all.view({-1, all.size(3)})
        .index_copy_(0, places, rows.reshape({-1, all.size(3)}).to(all.scalar_type()));
  };
  write(kCacheKeys, keys);
  write(kCacheValues, values);
}

at::Tensor TorchCaches::Gather(size_t part, int64_t layer, int64_t first, int64_t heads) const {
  const at::Tensor all = pool_.layer(part, layer);  // [blocks, heads, kBlock, width]
  const at::Tensor places = blocks_.unsqueeze(1) * all.size(1) +
                            at::arange(first, first + heads, blocks_.options()).view({-1, 1});
  return all.view({-1, TorchCacheState::kBlock * all.size(3)})
      .index_select(0, places.flatten())
      .view({blocks_.size(0), heads, N_, all.size(3)});
}

at::Tensor TorchCaches::Keys(int64_t layer, int64_t first, int64_t heads) const {
  return Gather(kCacheKeys, layer, first, heads);
}

at::Tensor TorchCaches::Values(int64_t layer) const {
  return Gather(kCacheValues, layer, 0, shape_.heads);
}

at::Tensor TorchCaches::Weights(int64_t layer, const at::Tensor& query) const {
  const at::Tensor keys = Keys(layer, 0, key_heads_);
  return grid_.Spread(query)
      .transpose(1, 2)
      .to(keys.scalar_type())
      .matmul(keys.transpose(-1, -2))
      .to(at::kFloat)
      .masked_fill_(hidden_, -std::numeric_limits<float>::infinity())
      .softmax(-1);
}

at::Tensor TorchCaches::Attend(int64_t layer, const at::Tensor& query) const {
  const at::Tensor values = Values(layer);
  const at::Tensor out = Weights(layer, query).to(values.scalar_type()).matmul(values);
  return grid_.Collect(out.transpose(1, 2));
}

void TorchCaches::Close(const TorchPastCall::Kept& kept) {
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
  at::Tensor Weights(int64_t layer, const at::Tensor& query) override {
    return caches_.Weights(layer, query);
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
