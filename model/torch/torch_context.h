#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_CONTEXT_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_CONTEXT_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include "base/mutex.h"

namespace leapstream {

// A device, and how one model computes on it. The model and the states of its sessions share it,
// since states may outlive the model.
struct TorchContext {
  TorchContext(c10::Device on, int cpu_threads, at::ScalarType product_type)
      : device(on), threads(cpu_threads), type(product_type) {}

  // Copies of the values on the device.
  at::Tensor Upload(const std::vector<int64_t>& values) const;
  at::Tensor Upload(const std::vector<double>& values) const;
  // A copy of float32 values on the device. Nothing is owned.
  at::Tensor Upload(const float* values, const std::vector<int64_t>& shape) const;

  const c10::Device device;
  const int threads;          // See TorchCall().
  const at::ScalarType type;  // That of matrices, of rows between layers, and of caches. Sums and
                              // all that becomes a weight or a probability are float32.
  Mutex mutex;                // Guards the pools of states, and the device's work.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_CONTEXT_H_
