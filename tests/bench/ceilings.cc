#include "tests/bench/ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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
typedef float Wide __attribute__((vector_size(32), aligned(4), may_alias));
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

// A head's sums, read; and with two positions added, written. Reading runs a page ahead of itself.
LEAPSTREAM_CLONES void ReadFloats(const float* sums, int64_t d, const float* query, Wide* out) {
  const int64_t wide = d / 8;
  for (int64_t i = 0; i < 2 * d; ++i) {
    const auto* row = reinterpret_cast<const Wide*>(sums + i * d);
    for (int64_t j = 0; j < wide; ++j) {
      if (j % 2 == 0) __builtin_prefetch(row + j + 128);
      out[j] += row[j] * query[i];
    }
  }
}
LEAPSTREAM_CLONES void AddToFloats(float* sums, int64_t d, const float* query, Wide* out) {
  const int64_t wide = d / 8;
  for (int64_t i = 0; i < 2 * d; ++i) {
    auto* row = reinterpret_cast<Wide*>(sums + i * d);
    for (int64_t j = 0; j < wide; ++j) {
      if (j % 2 == 0) __builtin_prefetch(row + j + 128);
      const Wide sum = row[j] + out[j] * query[i] + out[(j + 1) % wide] * query[i];
      row[j] = sum;
      out[j] += sum * query[i];
    }
  }
}
#ifdef __x86_64__
__attribute__((target("avx512f"))) void ReadHalves(const float* sums, int64_t d, const float* query,
                                                   float* out) {
  const auto* row = reinterpret_cast<const __m256i*>(sums);
  for (int64_t i = 0; i < 2 * d; ++i) {
    const __m512 weight = _mm512_set1_ps(query[i]);
    for (int64_t j = 0; j < d / 16; ++j, ++row) {
      if (j % 2 == 0) __builtin_prefetch(row + 256);
      const __m512 x = _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(row));
      _mm512_storeu_ps(out + 16 * j, _mm512_fmadd_ps(x, weight, _mm512_loadu_ps(out + 16 * j)));
    }
  }
}
__attribute__((target("avx512f"))) void AddToHalves(float* sums, int64_t d, const float* query,
                                                    float* out) {
  auto* row = reinterpret_cast<__m256i*>(sums);
  for (int64_t i = 0; i < 2 * d; ++i) {
    const __m512 weight = _mm512_set1_ps(query[i]);
    for (int64_t j = 0; j < d / 16; ++j, ++row) {
      if (j % 2 == 0) __builtin_prefetch(row + 256);
      const __m512 value = _mm512_loadu_ps(out + 16 * j);
      __m512 x = _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(row));
      x = _mm512_fmadd_ps(value, weight, x);
      x = _mm512_fmadd_ps(value, weight, x);
      _mm256_storeu_si256(row, _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_ZERO));
      _mm512_storeu_ps(out + 16 * j, _mm512_fmadd_ps(x, weight, value));
    }
  }
}
bool HasHalves() { return __builtin_cpu_supports("avx512f") != 0; }
#else
void ReadHalves(const float*, int64_t, const float*, float*) {}
void AddToHalves(float*, int64_t, const float*, float*) {}
bool HasHalves() { return false; }
#endif

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

constexpr double kReadBytes = 256 << 20;  // More than most caches hold.

std::function<void()> MemoryReader() {
  const auto memory = std::make_shared<HugePageVector<float>>(
      static_cast<size_t>(kReadBytes) / sizeof(float), 1.0f);
  return [memory] {
    [[maybe_unused]] volatile int64_t used =
        Read(reinterpret_cast<const WideIntegers*>(memory->data()),
             static_cast<int64_t>(kReadBytes / sizeof(WideIntegers)));
  };
}

// The loops for kernels of this name.
const Loops& LoopsOf(const std::string& kernels) {
  const Loops* loops = kLoops;
  while (loops->kernels != kernels && *loops->kernels != '\0') ++loops;
  return *loops;
}

// Each thread has a function of its own.
double WallSeconds(const std::vector<std::function<void()>>& each) {
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (const auto& f : each) threads.emplace_back(f);
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

double GainOf(const std::function<void()>& one, const std::function<void()>& two) {
  return 2 * WallSeconds({one}) / WallSeconds({one, two});
}

}  // namespace

ThreadGain MeasureThreadGain() {
  const auto floats = [] { LoopsOf(Simd().name).floats(); };
  return {GainOf(floats, floats), GainOf(MemoryReader(), MemoryReader())};
}

Ceilings MeasureCeilings(const std::string& kernels) {
  Ceilings ceilings;
  ceilings.read = kReadBytes / BestSeconds(MemoryReader());
  const Loops& loops = LoopsOf(kernels);
  ceilings.ops[ComputeType::kFloat32] = OpsPerSecond(loops.floats);
  // bfloat16 is summed in float32.
  ceilings.ops[ComputeType::kBfloat16] = ceilings.ops[ComputeType::kFloat32];
  ceilings.ops[ComputeType::kInt8] = OpsPerSecond(loops.int8s);
  return ceilings;
}

double PlainStateSeconds(const StateShape& shape) {
  if (shape.d % 16 != 0 || (shape.halves && !HasHalves())) return 0;
  const int64_t F = 2 * shape.d;
  const int64_t head = (shape.halves ? F * shape.d / 2 : F * shape.d) + F;
  const int64_t heads = shape.blocks * shape.sessions * shape.heads;
  HugePageVector<float> sums(heads * head);  // Zeros, also as halves.
  std::vector<float> query(F, 1e-3f), out(shape.d, 1e-3f);
  const double seconds = BestSeconds([&] {
    for (const bool adds : {false, true}) {
      for (int64_t h = 0; h < heads; ++h) {
        float* const at = sums.data() + h * head;
        auto* const wide = reinterpret_cast<Wide*>(out.data());
        if (shape.halves) {
          adds ? AddToHalves(at, shape.d, query.data(), out.data())
               : ReadHalves(at, shape.d, query.data(), out.data());
        } else {
          adds ? AddToFloats(at, shape.d, query.data(), wide)
               : ReadFloats(at, shape.d, query.data(), wide);
        }
        std::fill(out.begin(), out.end(), 1e-3f);
      }
    }
  });
  return seconds / 2;
}

}  // namespace leapstream
