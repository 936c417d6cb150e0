#ifndef LEAPSTREAM_MODEL_TORCH_DEVICE_POOL_H_
#define LEAPSTREAM_MODEL_TORCH_DEVICE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "model/torch/torch_context.h"

namespace leapstream {

// Equal blocks of memory on a device, side by side, for the states of all sessions of a model, so
// that a batch takes a few operations for all of its sessions together. A block has a part in each
// layer. Copies of a state share its blocks until one of them writes. Thread-safe, but for the
// tensors: TorchContext::mutex guards them. After an error in a call, the states of its sessions
// are good for Reset() and to be deleted; other states are as before.
class DevicePool : public std::enable_shared_from_this<DevicePool> {
 public:
  // A tensor of the pool: [L, blocks, ...].
  struct Part {
    std::vector<int64_t> shape;  // Of one block in one layer.
    at::ScalarType type = at::kFloat;
  };
  // A block that is in use. Its owners give it back by forgetting it, on any thread.
  class Block {
   public:
    Block(std::shared_ptr<DevicePool> pool, int64_t index)
        : pool_(std::move(pool)), index_(index) {}
    ~Block() { pool_->Give(index_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    int64_t index() const { return index_; }
    int64_t bytes() const { return pool_->block_bytes(); }

   private:
    const std::shared_ptr<DevicePool> pool_;
    const int64_t index_;
  };
  using BlockPointer = std::shared_ptr<const Block>;
  // The blocks that a call is about to write to: what they have before.
  struct Changes {
    std::vector<int64_t> zeroed;
    std::vector<int64_t> from, to;  // Copies, each to each.
  };

  // The index of a block of zeros, which nobody owns: it is read where a session has no block.
  static constexpr int64_t kZeros = 0;

  // Makes no block yet.
  DevicePool(std::shared_ptr<TorchContext> context, int64_t layers, const std::vector<Part>& parts);

  // Makes room for so many blocks, used ones included. RESOURCE_EXHAUSTED: the device has no
  // memory.
  absl::Status Reserve(int64_t blocks);
  // Takes a block, and makes more if none is free. Throws std::bad_alloc if the device has no
  // memory. REQUIRES: the caller does not hold the context's mutex.
  BlockPointer Take();

  // The functions below need the context's mutex.

  // Makes *block, which may be null, a block that nobody else has; `keeps`: with the numbers that
  // it has, otherwise with zeros. What is to be done for it on the device is added to *changes.
  // Throws std::bad_alloc.
  void Own(bool keeps, BlockPointer* block, Changes* changes);
  void Apply(const Changes& changes);
  at::Tensor& part(size_t i) { return parts_[i]; }  // [L, blocks, ...]
  at::Tensor layer(size_t i, int64_t l) const { return parts_[i].select(0, l); }  // [blocks, ...]

  int64_t block_bytes() const { return block_bytes_; }
  TorchContext& context() const { return *context_; }

 private:
  void Give(int64_t block);
  int64_t TakeFree();  // Returns -1 if no block is free.
  // These two need the context's mutex, too.
  absl::Status Grow(int64_t blocks);
  void Enlarge(int64_t blocks);
  BlockPointer TakeInCall();

  const std::shared_ptr<TorchContext> context_;
  std::vector<at::Tensor> parts_;
  int64_t block_bytes_ = 0;
  Mutex free_mutex_;  // Never held while the device works: sessions end on any thread.
  // It has capacity for all blocks, so that Give() allocates nothing.
  std::vector<int64_t> free_ ABSL_GUARDED_BY(free_mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_DEVICE_POOL_H_
