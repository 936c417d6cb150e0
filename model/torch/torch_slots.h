#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_SLOTS_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_SLOTS_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "model/api/model_config.h"

namespace leapstream {

// The sums of all sessions, side by side on a device: one slot for each session. Decoder
// self-attention also has the newest position apart from its sums, which is provisional until it is
// settled. Thread-safe, but for the pools: `mutex` guards them.
class TorchSlots {
 public:
  // Makes no slot yet. `threads`: see TorchCall().
  TorchSlots(const ModelConfig& config, c10::Device device, int threads);

  // Makes room for so many slots, used ones included. RESOURCE_EXHAUSTED: the device has no memory.
  absl::Status Reserve(int64_t slots);
  // Takes a slot, and makes more if none is free. RESOURCE_EXHAUSTED: the device has no memory.
  absl::StatusOr<int64_t> Take();
  // Gives a slot back. Does not wait for the device.
  void Give(int64_t slot);
  // Copies one slot's values to another slot.
  absl::Status Copy(int64_t from, int64_t to);

  Mutex mutex;                      // Guards the pools, and the device's work.
  at::Tensor encoder, self, cross;  // [L, slots, H, 2 d, d + 1]
  at::Tensor newest_key;            // [L, slots, H, 2 d]
  at::Tensor newest_value;          // [L, slots, H, d + 1]
  int64_t bytes_of_one = 0;         // The bytes of one slot. Set by the constructor only.

 private:
  // REQUIRES: the caller holds `mutex`.
  absl::Status Grow(int64_t slots);
  void Enlarge(int64_t slots);
  int64_t TakeFree();  // Returns -1 if no slot is free.

  const int threads_;
  Mutex free_mutex_;  // Never held while the device works: sessions end on any thread.
  std::vector<int64_t> free_ ABSL_GUARDED_BY(free_mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_SLOTS_H_
