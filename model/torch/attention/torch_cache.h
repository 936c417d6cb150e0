#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_CACHE_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_CACHE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/device_pool.h"
#include "model/torch/row_grid.h"

namespace leapstream {

// The keys and values of all positions of a segment, in blocks of kBlock positions: KeyValueCache
// on a device, for all layers of a side. Copies share blocks, and a session takes no more than it
// needs.
class TorchCacheState : public AttentionState {
 public:
  static constexpr int64_t kBlock = 16;

  // The pool's parts are the keys [key heads, kBlock, F] and the values [heads, kBlock, V].
  explicit TorchCacheState(std::shared_ptr<DevicePool> pool) : pool_(std::move(pool)) {}

  void Reset() override { length_ = settled_ = 0; }
  void Settle() override { settled_ = length_; }
  void Drop() override { length_ = settled_; }
  int64_t bytes() const override;
  std::unique_ptr<AttentionState> Clone() const override {
    return std::make_unique<TorchCacheState>(*this);
  }
  void CopyFrom(const AttentionState& other) override;
  // In the form of KeyValueCache's states.
  void Save(std::string* bytes) const override;
  bool Load(int64_t length, absl::string_view* bytes) override;

  int64_t length() const { return length_; }
  // The block that has a position. REQUIRES: it was owned once.
  int64_t BlockOf(int64_t position) const {
    return blocks_[static_cast<size_t>(position / kBlock)]->index();
  }
  // Makes room for positions [length(), length() + count) that nobody else has. Needs the context's
  // mutex.
  void Own(int64_t count, DevicePool::Changes* changes);
  // Keeps the first `settled` positions of those that Own() has made room for, and, if `open`, the
  // one after them provisionally.
  void Keep(int64_t settled, bool open) {
    settled_ = length_ + settled;
    length_ = settled_ + (open ? 1 : 0);
  }

 private:
  const std::shared_ptr<DevicePool> pool_;
  std::vector<DevicePool::BlockPointer> blocks_;
  int64_t length_ = 0;
  int64_t settled_ = 0;
};

// A pool for caches with so many heads of keys.
std::shared_ptr<DevicePool> MakeCachePool(const TorchShape& shape, int64_t key_heads,
                                          std::shared_ptr<TorchContext> context);

// The caches of the sessions of one call. They are read in groups of about one length, one group
// after the other, so that no session costs as much as a longer one beside it.
class TorchCaches {
 public:
  struct Group {
    // The group's part [G, ...] of numbers of all sessions [B, ...].
    at::Tensor Of(const at::Tensor& all) const {
      return sessions.defined() ? all.index_select(0, sessions) : all;
    }
    // Makes `part` that part.
    void Set(const at::Tensor& part, at::Tensor* all) const {
      if (sessions.defined()) {
        all->index_copy_(0, sessions, part);
      } else {
        *all = part;
      }
    }

    at::Tensor sessions;  // [G]. Undefined: all of them, in order.
    int64_t N = 0;        // The positions of the longest cache, rounded up to blocks.
    at::Tensor blocks;    // [G, N / kBlock]
    at::Tensor keys;    // Where all heads' keys of these blocks are in a layer's part of the pool,
    at::Tensor values;  // and values: [G heads N / kBlock].
    at::Tensor hidden;  // Whether a row does not see a position: [G, 1, T, N].
  };

  // `writes`: the rows of the grid will be written.
  TorchCaches(DevicePool& pool, const TorchShape& shape, int64_t key_heads,
              std::vector<TorchCacheState*> states, const RowGrid& grid, bool writes);

  // Writes the rows' keys [R, key heads, F] and values [R, H, V].
  void Write(int64_t layer, const at::Tensor& keys, const at::Tensor& values);
  // Calls f for each group, and returns its results [G, ...] as those of all sessions, [B, ...].
  at::Tensor ByGroups(absl::FunctionRef<at::Tensor(const Group& group)> f) const;
  // The keys [G, heads, N, F] of `heads` heads from `first` on; the values [G, H, N, V].
  at::Tensor Keys(const Group& group, int64_t layer, int64_t first, int64_t heads) const;
  at::Tensor Values(const Group& group, int64_t layer) const;
  // See TorchPastCall. query: [R, H, F].
  at::Tensor Attend(int64_t layer, const at::Tensor& query) const;
  at::Tensor MostAttended(int64_t layer, const at::Tensor& query, const TorchLook& look) const;
  void Close(const TorchPastCall::Kept& kept);

 private:
  at::Tensor Gather(const Group& group, size_t part, int64_t layer, const at::Tensor& places,
                    int64_t heads) const;
  // The weights of a soft-max over the positions that each row of the grid sees, [G, H, T, N] in
  // float32. query: [B, H, T, F].
  at::Tensor Weights(const Group& group, int64_t layer, const at::Tensor& query) const;

  DevicePool& pool_;
  const TorchShape& shape_;
  const int64_t key_heads_;
  const std::vector<TorchCacheState*> states_;
  const RowGrid& grid_;
  std::vector<Group> groups_;
  at::Tensor places_;  // Each session's place in the groups, one after the other: [B].
  // Where the rows' keys and values are written in a layer's part of the pool: [R heads].
  at::Tensor written_keys_, written_values_;
};

// The past of soft-max attention: see SoftmaxAttention.
class TorchCache : public TorchPast {
 public:
  TorchCache(const TorchShape& shape, std::shared_ptr<TorchContext> context)
      : shape_(shape), pool_(MakeCachePool(shape, shape.heads, std::move(context))) {}

  std::unique_ptr<AttentionState> NewState() const override {
    return std::make_unique<TorchCacheState>(pool_);
  }
  absl::Status Reserve(int64_t states) const override { return pool_->Reserve(states); }
  std::unique_ptr<TorchPastCall> Open(absl::Span<AttentionState* const> states, const RowGrid& grid,
                                      Use use) const override;

 private:
  class Call;
  const TorchShape shape_;
  const std::shared_ptr<DevicePool> pool_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_CACHE_H_
