#include "model/torch/torch_context.h"

#include <ATen/ATen.h>

namespace leapstream {

at::Tensor TorchContext::Upload(const std::vector<int64_t>& values) const {
  return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::kLong)
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor TorchContext::Upload(const std::vector<double>& values) const {
  return at::from_blob(const_cast<double*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::kDouble)
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor TorchContext::Upload(const float* values, const std::vector<int64_t>& shape) const {
  return at::from_blob(const_cast<float*>(values), shape, at::kFloat)
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace leapstream
