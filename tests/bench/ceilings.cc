#include "tests/bench/ceilings.h"

#include <algorithm>
#include <cstdint>
#include <string>

#ifdef __x86_64__
#include <immintrin.h>
#define LEAPSTREAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default"), noinline))
#else
#define LEAPSTREAM_CLONES __attribute__((noinline))
#endif

#include "model/engine/kernels/huge_pages.h"
#ifdef __x86_64__
#include "model/engine/kernels/tiles.h"
#endif
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

// A vector that compilers keep in registers: they split wider ones through memory.
typedef float Wide __attribute__((vector_size(32), may_alias));
typedef int64_t WideIntegers __attribute__((vector_size(32), may_alias));
constexpr int64_t kTimes = 1 << 22;

template <typename F>
double BestSeconds(F&& f) {
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const double start = ThreadSeconds();
    f();
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

// Reads four streams, 32 KB apart, which keep more of the memory busy than one.
LEAPSTREAM_CLONES int64_t Read(const WideIntegers* x, int64_t count) {
  constexpr int64_t kApart = (32 << 10) / sizeof(WideIntegers);
  WideIntegers bits[4] = {}, more[4] = {};
  for (int64_t block = 0; block + 4 * kApart <= count; block += 4 * kApart) {
    for (int64_t i = 0; i < kApart; i += 2) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        bits[j] |= x[block + j * kApart + i];
        more[j] |= x[block + j * kApart + i + 1];
      }
    }
  }
  return (bits[0] | bits[1] | bits[2] | bits[3] | more[0] | more[1] | more[2] | more[3])[0];
}

// Independent sums, as many as the instruction's latency needs. Returns the number of operations.
#ifdef __x86_64__
double Floats128() {
  __m128 sums[8] = {};
  const __m128 x = _mm_set1_ps(0.5f);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      __m128 a = x;
      asm volatile("mulps %1, %0" : "+x"(a) : "x"(x));
      asm volatile("addps %1, %0" : "+x"(sums[s]) : "x"(a));
    }
  }
  return 2.0 * 4 * 8 * kTimes;
}
double Int8s128() {  // Numbers that are of 16 bits already.
  __m128i sums[8] = {};
  const __m128i x = _mm_set1_epi16(1);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      __m128i a = x;
      asm volatile("pmaddwd %1, %0" : "+x"(a) : "x"(x));
      asm volatile("paddd %1, %0" : "+x"(sums[s]) : "x"(a));
    }
  }
  return 2.0 * 8 * 8 * kTimes;
}
__attribute__((target("avx2,fma"))) double Floats256() {
  __m256 sums[12] = {};
  const __m256 x = _mm256_set1_ps(0.5f);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 12
    for (int s = 0; s < 12; ++s) asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sums[s]) : "x"(x));
  }
  return 2.0 * 8 * 12 * kTimes;
}
// Sums of 64 products, added up by four within 16 bits before they are widened.
__attribute__((target("avx2"))) double Int8s256() {
  __m256i sums[8] = {};
  const __m256i x = _mm256_set1_epi8(1);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      __m256i a, b;
      asm volatile("vpmaddubsw %1, %1, %0" : "=x"(a) : "x"(x));
      asm volatile("vpmaddubsw %1, %1, %0" : "=x"(b) : "x"(x));
      asm volatile("vpaddw %1, %0, %0" : "+x"(a) : "x"(b));
      asm volatile("vpmaddwd %1, %0, %0" : "+x"(a) : "x"(x));
      asm volatile("vpaddd %1, %0, %0" : "+x"(sums[s]) : "x"(a));
    }
  }
  return 2.0 * 64 * 8 * kTimes;
}
__attribute__((target("avx512bw"))) double Int8s512() {
  __m512i sums[8] = {};
  const __m512i x = _mm512_set1_epi8(1);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) {
      __m512i a, b;
      asm volatile("vpmaddubsw %1, %1, %0" : "=v"(a) : "v"(x));
      asm volatile("vpmaddubsw %1, %1, %0" : "=v"(b) : "v"(x));
      asm volatile("vpaddw %1, %0, %0" : "+v"(a) : "x"(b));
      asm volatile("vpmaddwd %1, %0, %0" : "+v"(a) : "v"(x));
      asm volatile("vpaddd %1, %0, %0" : "+v"(sums[s]) : "x"(a));
    }
  }
  return 2.0 * 128 * 8 * kTimes;
}
__attribute__((target("avx512f"))) double Floats512() {
  __m512 sums[12] = {};
  const __m512 x = _mm512_set1_ps(0.5f);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 12
    for (int s = 0; s < 12; ++s) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sums[s]) : "v"(x));
  }
  return 2.0 * 16 * 12 * kTimes;
}
__attribute__((target("avx2"))) double Int8sVnni256() {
  __m256i sums[12] = {};
  const __m256i x = _mm256_set1_epi32(3);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 12
    for (int s = 0; s < 12; ++s) {
      asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sums[s]) : "x"(x));
    }
  }
  return 2.0 * 32 * 12 * kTimes;
}
double Int8sAmx() {
  ConfigureTiles();
  for (int64_t t = 0; t < kTimes / 16; ++t) {
    MultiplyTiles<0, 4, 6>();
    MultiplyTiles<1, 4, 7>();
    MultiplyTiles<2, 5, 6>();
    MultiplyTiles<3, 5, 7>();
  }
  ReleaseTiles();
  return 2.0 * 16 * 16 * 64 * 4 * (kTimes / 16);
}
__attribute__((target("avx512f,avx512vnni"))) double Int8sVnni512() {
  __m512i sums[12] = {};
  const __m512i x = _mm512_set1_epi32(3);
  for (int64_t t = 0; t < kTimes; ++t) {
#pragma GCC unroll 12
    for (int s = 0; s < 12; ++s) asm volatile("vpdpbusd %1, %1, %0" : "+v"(sums[s]) : "v"(x));
  }
  return 2.0 * 64 * 12 * kTimes;
}
#endif

// Sums without instructions of one processor. The barrier keeps the compiler from folding the loop.
double FloatsAnywhere() {
  Wide sums[4] = {}, x = Wide{} + 0.5f;
  for (int64_t t = 0; t < kTimes; ++t) {
    for (Wide& sum : sums) sum += x * x;
    asm volatile("" : : "r"(sums), "r"(&x) : "memory");
  }
  return 2.0 * 8 * 4 * kTimes;
}

struct Loops {
  const char* kernels;
  double (*floats)();
  double (*int8s)();
};
constexpr Loops kLoops[] = {
#ifdef __x86_64__
    {"Baseline", Floats128, Int8s128},       {"Haswell", Floats256, Int8s256},
    {"AvxVnni", Floats256, Int8sVnni256},    {"SkylakeAvx512", Floats512, Int8s512},
    {"Avx512Vnni", Floats512, Int8sVnni512}, {"AmxInt8", Floats512, Int8sAmx},
#endif
    {"", FloatsAnywhere, FloatsAnywhere}};

double OpsPerSecond(double (*loop)()) {
  double ops = 0;
  return 1 / BestSeconds([&] { ops = loop(); }) * ops;
}

}  // namespace

Ceilings MeasureCeilings(const std::string& kernels) {
  Ceilings ceilings;
  HugePageVector<float> memory(64 << 20, 1.0f);  // 256 MB, more than any cache holds.
  const auto bytes = static_cast<double>(memory.size() * sizeof(float));
  const auto wide = static_cast<int64_t>(bytes / sizeof(WideIntegers));
  volatile int64_t used = 0;
  ceilings.read = bytes / BestSeconds([&] {
                    used = Read(reinterpret_cast<const WideIntegers*>(memory.data()), wide);
                  });
  const Loops* loops = kLoops;
  while (loops->kernels != kernels && *loops->kernels != '\0') ++loops;
  ceilings.ops[ComputeType::kFloat32] = OpsPerSecond(loops->floats);
  // bfloat16 is summed in float32.
  ceilings.ops[ComputeType::kBfloat16] = ceilings.ops[ComputeType::kFloat32];
  ceilings.ops[ComputeType::kInt8] = OpsPerSecond(loops->int8s);
  return ceilings;
}

}  // namespace leapstream
