#include "model/engine/kernels/simd.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#ifdef LEAPSTREAM_X86_KERNELS
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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
extern const SimdKernels kSimdAmxInt8;
#endif
#ifdef LEAPSTREAM_ARM_KERNELS
extern const SimdKernels kSimdArmDot;
extern const SimdKernels kSimdArmI8mm;
#endif

namespace {

#ifdef LEAPSTREAM_X86_KERNELS
bool HasAvxVnni() {  // Not all compilers know it as an argument of __builtin_cpu_supports().
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

bool HasF16c() {  // Conversions of float16, which all processors with AVX2 have so far.
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}

// Whether the processor has AMX for int8, and the system lets this process use it: tiles are 8 KB
// of state for each thread, for which Linux (from 5.16 on) wants to be asked.
bool HasAmxInt8() {
  constexpr unsigned kTileInt8 = 3u << 24;  // AMX-TILE and AMX-INT8.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTileInt8) != kTileInt8) return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return false;
  constexpr unsigned kTileStates = 3u << 17;  // XTILECFG and XTILEDATA.
  asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  if ((a & kTileStates) != kTileStates) return false;
  constexpr int64_t kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h.
  constexpr int64_t kTileData = 18;               // The bit of XTILEDATA.
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

// multiply_int8's slow twin, for all numbers of rows up to more than a tile and a block have.
// Quantising does not change the inputs, and no sum is rounded.
bool Passes(const SimdKernels& kernels) {
  constexpr int64_t kRows = 37, kIn = 204, kOut = 44;
  constexpr int64_t kOutputs = (kOut + kPanel - 1) / kPanel * kPanel;
  constexpr float kBefore = 0.5f;
  const auto input = [](int64_t r, int64_t i) {
    return i < 8 ? 63 : static_cast<int>((r * 31 + i * 17 + r * i) % 127) - 63;
  };
  const auto weight = [](int64_t o, int64_t i) {
    return o < kOut ? static_cast<int>((o * 29 + i * 13 + o * i) % 255) - 127 : 0;
  };
  std::vector<int8_t> panels(kOutputs * kIn);
  std::vector<int32_t> w_sum(kOutputs);
  for (int64_t o = 0; o < kOutputs; ++o) {
    for (int64_t i = 0; i < kIn; ++i) {
      const int64_t group = (o / kPanel * kIn + i / 4 * 4) * kPanel;
      panels[group + o % kPanel * 4 + i % 4] = static_cast<int8_t>(weight(o, i));
      w_sum[o] += 128 * weight(o, i);
    }
  }
  std::vector<uint8_t> quantised(kRows * kIn * 2);
  std::vector<QuantisedRow> rows(kRows);
  std::vector<float> expected;
  for (int64_t r = 0; r < kRows; ++r) {
    std::vector<float> x;
    for (int64_t i = 0; i < kIn; ++i) x.push_back(static_cast<float>(input(r, i)));
    rows[r] = kernels.quantise(x.data(), kIn, &quantised[r * kIn * 2]);
    for (int64_t o = 0; o < kOut; ++o) {
      int sum = 0;
      for (int64_t i = 0; i < kIn; ++i) sum += input(r, i) * weight(o, i);
      expected.push_back(static_cast<float>(sum) + kBefore);
    }
  }
  const std::vector<float> bias(kOutputs), scale(kOutputs, 1);
  Product product;
  product.in = kIn;
  product.panels = panels.data();
  product.end = kOutputs / kPanel;
  product.bias = bias.data();
  product.out = kOut;
  product.epilogue = Epilogue::kAdd;
  product.x_quantised = quantised.data();
  product.x_rows = rows.data();
  product.w_scale = scale.data();
  product.w_sum = w_sum.data();
  for (product.rows = 1; product.rows <= kRows; ++product.rows) {
    std::vector<float> y(product.rows * kOut, kBefore);
    product.y = y.data();
    kernels.multiply_int8(product);
    for (size_t i = 0; i < y.size(); ++i) {
      if (y[i] != expected[i]) return false;
    }
  }
  return true;
}

}  // namespace

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
  if (!__builtin_cpu_supports("avx512vnni")) return supported;
  supported.push_back(&kSimdAvx512Vnni);
  if (HasAmxInt8()) supported.push_back(&kSimdAmxInt8);
#endif
#ifdef LEAPSTREAM_ARM_KERNELS
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) == 0) return supported;
  supported.push_back(&kSimdArmDot);
  if ((getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0) supported.push_back(&kSimdArmI8mm);
#endif
  return supported;
}

const SimdKernels& LastThatPasses(const std::vector<const SimdKernels*>& kernels) {
  for (size_t i = kernels.size(); i > 1; --i) {
    if (Passes(*kernels[i - 1])) return *kernels[i - 1];
  }
  return *kernels.front();
}

const SimdKernels& Simd() {
  static const SimdKernels& best = LastThatPasses(SupportedSimdKernels());
  return best;
}

}  // namespace leapstream
