#include "model/torch/torch_slots.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include "base/status.h"
#include "model/torch/torch_call.h"

namespace leapstream {

TorchSlots::TorchSlots(const ModelConfig& config, c10::Device device, int threads)
    : threads_(threads) {
  const auto sums = [&](const SideConfig& side) {
    const int64_t d = side.embed_dim / side.attention_heads;
    return at::zeros({side.layers, 0, side.attention_heads, 2 * d, d + 1}, device);
  };
  encoder = sums(config.encoder);
  self = sums(config.decoder);
  cross = sums(config.decoder);
  newest_key = self.select(-1, 0).clone();
  newest_value = self.select(-2, 0).clone();
  for (const at::Tensor* pool : {&encoder, &self, &cross, &newest_key, &newest_value}) {
    int64_t floats = 1;
    for (int64_t dim = 0; dim < pool->dim(); ++dim) floats *= dim == 1 ? 1 : pool->size(dim);
    bytes_of_one += floats * static_cast<int64_t>(sizeof(float));
  }
}

absl::Status TorchSlots::Reserve(int64_t slots) {
  MutexLock lock(&mutex);
  return Grow(slots);
}

absl::StatusOr<int64_t> TorchSlots::Take() {
  int64_t slot = TakeFree();
  while (slot < 0) {  // Another thread may take the slots that Grow() makes.
    MutexLock lock(&mutex);
    LEAPSTREAM_RETURN_IF_ERROR(Grow(std::max<int64_t>(8, 2 * encoder.size(1))));
    slot = TakeFree();
  }
  return slot;
}

void TorchSlots::Give(int64_t slot) {
  MutexLock lock(&free_mutex_);
  free_.push_back(slot);
}

absl::Status TorchSlots::Copy(int64_t from, int64_t to) {
  MutexLock lock(&mutex);
  return TorchCall("a copy of a session's state", threads_, [&] {
    for (at::Tensor* const pool : {&encoder, &self, &cross, &newest_key, &newest_value}) {
      pool->select(1, to).copy_(pool->select(1, from));
    }
    return absl::OkStatus();
  });
}

absl::Status TorchSlots::Grow(int64_t slots) {
  const absl::Status status = TorchCall("states of sessions", threads_, [&] {
    Enlarge(slots);
    return absl::OkStatus();
  });
  // Enlarge() only allocates, so each error is a lack of memory. On the CPU LibTorch has no error
  // of its own for that.
  return status.ok() ? status : absl::ResourceExhaustedError(status.message());
}

void TorchSlots::Enlarge(int64_t slots) {
  const int64_t before = encoder.size(1);
  if (slots <= before) return;
  at::Tensor* const pools[] = {&encoder, &self, &cross, &newest_key, &newest_value};
  std::vector<at::Tensor> larger;  // Replaces the pools when there was memory for all of them.
  for (const at::Tensor* pool : pools) {
    std::vector<int64_t> more = pool->sizes().vec();
    more[1] = slots;
    larger.push_back(at::zeros(more, pool->options()));
    larger.back().narrow(1, 0, before).copy_(*pool);
  }
  for (size_t i = 0; i < larger.size(); ++i) *pools[i] = std::move(larger[i]);
  MutexLock lock(&free_mutex_);
  for (int64_t slot = slots - 1; slot >= before; --slot) free_.push_back(slot);
}

int64_t TorchSlots::TakeFree() {
  MutexLock lock(&free_mutex_);
  if (free_.empty()) return -1;
  const int64_t slot = free_.back();
  free_.pop_back();
  return slot;
}

}  // namespace leapstream
