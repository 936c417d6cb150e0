#ifndef LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_
#define LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_

#include <cstdint>

#include "model/torch/kernels/leap_kernel.h"

namespace leapstream {

inline constexpr int64_t kPanel = 16;  // Outputs per panel of a PackedLinear.

// The inner loops, compiled once per kind of processor from simd_kernels.cc. Within one of them
// every sum has one order and the same fused multiply-adds, whatever else is computed beside it.
struct SimdKernels {
  const char* name;
  // See PackedLinear: panels [ceil(out / 16), in, 16], bias [ceil(out / 16) * 16].
  void (*multiply)(const float* x, int64_t rows, int64_t in, const float* panels, const float* bias,
                   int64_t out, float* y);
  void (*leap_append)(float* state, int64_t d, const LeapFeatures& key, const float* value);
  void (*leap_attend)(float* state, int64_t d, const LeapStep& step, float* out);
};

// The best for this processor, chosen at the first call.
const SimdKernels& Simd();

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_
