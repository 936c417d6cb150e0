#include "model/torch/device_pool.h"

#include <algorithm>
#include <new>
#include <utility>

#include <ATen/ATen.h>
#include "model/torch/torch_call.h"

namespace leapstream {
namespace {

// A small pool doubles. A larger one grows by a quarter, so that no more than that lies idle.
// Either grows by a few blocks if there is no memory for more.
constexpr int64_t kSmallBytes = 64 << 20;
constexpr int64_t kFewBlocks = 8;

}  // namespace

DevicePool::DevicePool(std::shared_ptr<TorchContext> context, int64_t layers,
                       const std::vector<Part>& parts)
    : context_(std::move(context)) {
  for (const Part& part : parts) {
    std::vector<int64_t> shape = {layers, 0};
    shape.insert(shape.end(), part.shape.begin(), part.shape.end());
    parts_.push_back(at::zeros(shape, at::device(context_->device).dtype(part.type)));
    int64_t bytes = layers * static_cast<int64_t>(c10::elementSize(part.type));
    for (const int64_t size : part.shape) bytes *= size;
    block_bytes_ += bytes;
  }
}

absl::Status DevicePool::Reserve(int64_t blocks) {
  MutexLock lock(&context_->mutex);
  return Grow(blocks + 1);  // And kZeros.
}

DevicePool::BlockPointer DevicePool::Take() {
  const int64_t block = TakeFree();
  if (block >= 0) return std::make_shared<const Block>(shared_from_this(), block);
  MutexLock lock(&context_->mutex);
  return TakeInCall();
}

DevicePool::BlockPointer DevicePool::TakeInCall() {
  int64_t block = TakeFree();
  while (block < 0) {  // Another thread may take the blocks that Grow() makes.
    const int64_t before = parts_[0].size(1);
    const auto grows = [&](int64_t more) { return Grow(before + std::max(more, kFewBlocks)).ok(); };
    const bool small = before * block_bytes_ < kSmallBytes;
    if (!grows(small ? before : before / 4) && !grows(kFewBlocks)) throw std::bad_alloc();
    block = TakeFree();
  }
  return std::make_shared<const Block>(shared_from_this(), block);
}

void DevicePool::Own(bool keeps, BlockPointer* block, Changes* changes) {
  if (*block != nullptr && block->use_count() == 1) {
    if (!keeps) changes->zeroed.push_back((*block)->index());
    return;
  }
  BlockPointer own = TakeInCall();
  if (*block != nullptr && keeps) {
    changes->from.push_back((*block)->index());
    changes->to.push_back(own->index());
  } else {
    changes->zeroed.push_back(own->index());
  }
  *block = std::move(own);
}

// A block that Own() has left may be one that it has taken since: so all are read before any is
// written.
void DevicePool::Apply(const Changes& changes) {
  if (!changes.from.empty()) {
    const at::Tensor from = context_->Upload(changes.from);
    const at::Tensor to = context_->Upload(changes.to);
    std::vector<at::Tensor> copies;
    for (const at::Tensor& part : parts_) copies.push_back(part.index_select(1, from));
    for (size_t i = 0; i < parts_.size(); ++i) parts_[i].index_copy_(1, to, copies[i]);
  }
  if (changes.zeroed.empty()) return;
  const at::Tensor zeroed = context_->Upload(changes.zeroed);
  for (at::Tensor& part : parts_) part.index_fill_(1, zeroed, 0);
}

absl::Status DevicePool::Grow(int64_t blocks) {
  const absl::Status status = TorchCall("states of sessions", context_->threads, [&] {
    Enlarge(blocks);
    return absl::OkStatus();
  });
  // Enlarge() only allocates, so each error is a lack of memory. On the CPU LibTorch has no error
  // of its own for that.
  return status.ok() ? status : absl::ResourceExhaustedError(status.message());
}

void DevicePool::Enlarge(int64_t blocks) {
  const int64_t before = parts_[0].size(1);
  if (blocks <= before) return;
  {
    MutexLock lock(&free_mutex_);
    free_.reserve(static_cast<size_t>(blocks));
  }
  std::vector<at::Tensor> larger;  // Replaces the parts when there was memory for all of them.
  for (const at::Tensor& part : parts_) {
    std::vector<int64_t> shape = part.sizes().vec();
    shape[1] = blocks;
    larger.push_back(at::zeros(shape, part.options()));
    larger.back().narrow(1, 0, before).copy_(part);
  }
  parts_ = std::move(larger);
  MutexLock lock(&free_mutex_);
  for (int64_t block = blocks - 1; block >= std::max(before, kZeros + 1); --block) {
    free_.push_back(block);
  }
}

void DevicePool::Give(int64_t block) {
  MutexLock lock(&free_mutex_);
  free_.push_back(block);
}

int64_t DevicePool::TakeFree() {
  MutexLock lock(&free_mutex_);
  if (free_.empty()) return -1;
  const int64_t block = free_.back();
  free_.pop_back();
  return block;
}

}  // namespace leapstream
