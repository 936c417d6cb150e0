#include "model/engine/kernels/simd.h"

#ifdef LEAPSTREAM_X86_KERNELS
#include <cpuid.h>
#endif
#ifdef LEAPSTREAM_ARM_KERNELS
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace leapstream {

extern const SimdKernels kSimdBaseline;
#ifdef LEAPSTREAM_X86_KERNELS
extern const SimdKernels kSimdHaswell;
extern const SimdKernels kSimdAvxVnni;
extern const SimdKernels kSimdSkylakeAvx512;
extern const SimdKernels kSimdAvx512Vnni;
#endif
#ifdef LEAPSTREAM_ARM_KERNELS
extern const SimdKernels kSimdArmDot;
#endif

#ifdef LEAPSTREAM_X86_KERNELS
namespace {

bool HasAvxVnni() {  // Not all compilers know it as an argument of __builtin_cpu_supports().
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

bool HasF16c() {  // Conversions of float16, which all processors with AVX2 have so far.
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}

}  // namespace
#endif

std::vector<const SimdKernels*> SupportedSimdKernels() {
  std::vector<const SimdKernels*> supported = {&kSimdBaseline};
#ifdef LEAPSTREAM_X86_KERNELS
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !HasF16c()) {
    return supported;
  }
  supported.push_back(&kSimdHaswell);
  if (HasAvxVnni()) supported.push_back(&kSimdAvxVnni);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512cd")) {
    return supported;
  }
  supported.push_back(&kSimdSkylakeAvx512);
  if (__builtin_cpu_supports("avx512vnni")) supported.push_back(&kSimdAvx512Vnni);
#endif
#ifdef LEAPSTREAM_ARM_KERNELS
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) supported.push_back(&kSimdArmDot);
#endif
  return supported;
}

const SimdKernels& Simd() {
  static const SimdKernels& best = *SupportedSimdKernels().back();
  return best;
}

}  // namespace leapstream
