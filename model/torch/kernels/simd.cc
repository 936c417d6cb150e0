#include "model/torch/kernels/simd.h"

namespace leapstream {

extern const SimdKernels kSimdBaseline;
#ifdef LEAPSTREAM_X86_KERNELS
extern const SimdKernels kSimdHaswell;
extern const SimdKernels kSimdSkylakeAvx512;
#endif

const SimdKernels& Simd() {
  static const SimdKernels& best = []() -> const SimdKernels& {
#ifdef LEAPSTREAM_X86_KERNELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512cd")) {
      return kSimdSkylakeAvx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kSimdHaswell;
#endif
    return kSimdBaseline;
  }();
  return best;
}

}  // namespace leapstream
