// This file is compiled several times, each time for another kind of processor, and then defines
// LEAPSTREAM_SIMD_KERNELS. The copies must share nothing. So no function of the standard library is
// called here: the linker would merge the copies of it.
//
// Tiles of a product of many rows, rows x outputs, and the vector registers that hold their sums:
//
//   copy           registers   float32, bfloat16   int8                 multiplies int8 with
//   Baseline x86   16 x 128    3 x 16, 12          4 x 16, in memory    pmaddwd of widened bytes
//   Baseline ARM   32 x 128    6 x 16, 24          4 x 16, 16           smull, addp, sadalp
//   ArmDot         32 x 128    6 x 16, 24          4 x 16, 16           sdot
//   ArmI8mm        32 x 128    6 x 16, 24          6 x 16, 24           smmla
//   Haswell        16 x 256    6 x 16, 12          4 x 16, 8            vpmaddubsw, vpmaddwd
//   AvxVnni        16 x 256    6 x 16, 12          6 x 16, 12           vpdpbusd
//   SkylakeAvx512  32 x 512    8 x 32, 16          8 x 32, 16           vpmaddubsw, vpmaddwd
//   Avx512Vnni     32 x 512    8 x 32, 16          8 x 32, 16           vpdpbusd
//   AmxInt8        32 x 512    8 x 32, 16          32 x 32, 4 tiles     tdpbusd from 16 rows on
//
// With more sums each loaded number is used more often. Some registers are left for weights, for an
// input, and for products where no instruction multiplies and adds at once. With 512 bits 16 sums
// are enough: a tile of 8 x 32 multiplies 16 times for ten loads, of which the processor makes two
// while it multiplies twice.
//
// GOP/s of a product of 128 rows, 512 inputs and 2,048 outputs, and of the same instructions in
// registers alone; one thread of an Intel Xeon of family 6, model 207, the best of many runs of
// `echo int8:128:512:2048 | build/bin/product_bench Haswell`, with each copy's name and type:
//
//   copy           float32   bfloat16   registers   int8   registers
//   Baseline x86        29         27          34     32          67
//   Haswell             80         75          95    147         212
//   AvxVnni             80         75          95    306         380
//   SkylakeAvx512      153        144         176    184         303
//   Avx512Vnni         153        144         176    573         739
//
// In registers the vpxor of Haswell's way is not counted, nor Baseline's widening. There was no ARM
// processor to measure on, and none that shows AMX to its programs: kernels_test runs the former
// copies under qemu and AmxInt8 with emulated tiles (tiles.h).
//
// AMX's tdpbf16ps is not used: it rounds inputs to bfloat16 and adds products in pairs, so that the
// results of a row would be others in a batch than alone.
#include "model/engine/kernels/simd.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__AMX_INT8__) || defined(LEAPSTREAM_EMULATED_TILES)
#define LEAPSTREAM_TILES
#include "model/engine/kernels/tiles.h"
#endif

#define INLINE_MEMBER inline __attribute__((always_inline))
#define INLINE static INLINE_MEMBER
#define SEPARATE static __attribute__((noinline, noclone))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace leapstream {

extern const SimdKernels LEAPSTREAM_SIMD_KERNELS;

namespace {

#ifdef LEAPSTREAM_TILES
constexpr bool kTiles = true;
#else
constexpr bool kTiles = false;
#endif

// Vectors are as wide as the processor's own: compilers split wider ones through memory.
#ifdef __AVX512F__
constexpr int64_t kLanes = 16;
constexpr int kFloatSums = 16;  // The registers for sums: half of all vector registers.
constexpr int kInt8Sums = 16;
constexpr int kFloatRows = 8;
constexpr int kInt8Rows = 8;
#define LANES_CROSSED(n)                                                                    \
  0 ^ (n), 1 ^ (n), 2 ^ (n), 3 ^ (n), 4 ^ (n), 5 ^ (n), 6 ^ (n), 7 ^ (n), 8 ^ (n), 9 ^ (n), \
      10 ^ (n), 11 ^ (n), 12 ^ (n), 13 ^ (n), 14 ^ (n), 15 ^ (n)
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
constexpr int kFloatSums = 12;  // The registers for sums, of 16 vector registers.
constexpr int kFloatRows = 6;
#if defined(__AVXVNNI__)
constexpr int kInt8Sums = 12;
constexpr int kInt8Rows = 6;
#else
constexpr int kInt8Sums = 8;
constexpr int kInt8Rows = 4;
#endif
#define LANES_CROSSED(n) 0 ^ (n), 1 ^ (n), 2 ^ (n), 3 ^ (n), 4 ^ (n), 5 ^ (n), 6 ^ (n), 7 ^ (n)
#else
constexpr int64_t kLanes = 4;
#if defined(__aarch64__)
constexpr int kFloatSums = 24;  // Of 32 vector registers.
constexpr int kFloatRows = 6;
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kInt8Sums = 24;
constexpr int kInt8Rows = 6;
#else
constexpr int kInt8Sums = 16;
constexpr int kInt8Rows = 4;
#endif
#else
constexpr int kFloatSums = 12;
constexpr int kInt8Sums = kTiles ? 16 : 8;  // Emulated tiles are of two panels, as AMX's.
constexpr int kFloatRows = 3;
constexpr int kInt8Rows = 4;
#endif
#define LANES_CROSSED(n) 0 ^ (n), 1 ^ (n), 2 ^ (n), 3 ^ (n)
#endif
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
typedef int32_t Integers
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
typedef uint16_t Halves
    __attribute__((vector_size(kLanes * sizeof(uint16_t)), aligned(2), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));
constexpr int kVectors = kPanel / kLanes;
constexpr bool kAvx512 = kLanes == 16;

INLINE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE Vector Load(const float* x) { return *reinterpret_cast<const Vector*>(x); }
INLINE void Store(Vector v, float* x) { *reinterpret_cast<Vector*>(x) = v; }
// Loads the first `count` lanes; the others are zero.
INLINE Vector LoadPart(const float* x, int64_t count) {
  Vector v = {};
  __builtin_memcpy(&v, x, count * sizeof(float));
  return v;
}
INLINE void StorePart(Vector v, int64_t count, float* x) {
  __builtin_memcpy(x, &v, count * sizeof(float));
}
// Each lane changes places with the one whose number differs by the bit `distance`.
template <int distance>
INLINE Vector Crossed(Vector v) {
  return __builtin_shufflevector(v, v, LANES_CROSSED(distance));
}
template <int half>
INLINE Vector Folded(Vector v) {
  return v + Crossed<half>(v);
}
// The sum of all lanes. Halves are added to halves: no other order has as few additions that wait
// for each other.
INLINE float Sum(Vector v) {
  if constexpr (kLanes > 8) v = Folded<8>(v);
  if constexpr (kLanes > 4) v = Folded<4>(v);
  return Folded<1>(Folded<2>(v))[0];
}
INLINE Vector Select(Integers mask, Vector a, Vector b) {
  return reinterpret_cast<Vector>((mask & reinterpret_cast<Integers>(a)) |
                                  (~mask & reinterpret_cast<Integers>(b)));
}
INLINE Vector Same(float x) { return Vector{} + x; }

// --- Products ---

INLINE Vector Widen(const float* weights) { return Load(weights); }
// A bfloat16 number is the upper half of a float.
INLINE Vector Widen(const uint16_t* weights) {
#if defined(__AVX512F__)  // One instruction; GCC 12 would take four.
  const __m512i uppers =
      _mm512_set_epi32(15 << 16, 14 << 16, 13 << 16, 12 << 16, 11 << 16, 10 << 16, 9 << 16, 8 << 16,
                       7 << 16, 6 << 16, 5 << 16, 4 << 16, 3 << 16, 2 << 16, 1 << 16, 0);
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  return reinterpret_cast<Vector>(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, uppers, _mm512_castsi256_si512(halves)));
#else
  const Halves halves = *reinterpret_cast<const Halves*>(weights);
  return reinterpret_cast<Vector>(__builtin_convertvector(halves, Integers) << 16);
#endif
}

// The weights that a tile prefetches, a step for each line of its own weights. A product of one
// tile of rows goes through the weights once, and prefetches some way ahead in the same panels. In
// a product of several tiles each prefetches its share of the block that comes next, so that memory
// is busy all the time, and not only while the first tile goes through a block. With AVX-512 this
// is done for all panels of a tile, and into the second-level cache, since a block and the next one
// do not both fit into the first. With AVX2 only one panel is prefetched: blocks have no more.
struct Ahead {
  const char* at;
  int64_t step;
  int64_t apart;  // The bytes from one panel of the tile to the next.
  template <int kPanels>
  INLINE_MEMBER void Prefetch() {
    if constexpr (kAvx512) {
#pragma GCC unroll 4
      for (int v = 0; v < kPanels; ++v) __builtin_prefetch(at + v * apart, 0, 2);
    } else {
      __builtin_prefetch(at);
    }
    at += step;
  }
};

// The place of a tile: its first row, and its panels, which are `apart` panels from each other, for
// the inputs [begin, end).
struct Place {
  int64_t row, panel, apart;
  int64_t begin, end;
};

// The weights of a tile.
template <typename Weight>
struct Weights {
  const Weight* first;
  int64_t between;  // The numbers from one panel of the tile to the next.
  Ahead ahead;
  // For bfloat16: if not null, the tile leaves the widened weights there for the tiles after it,
  // [kPanels, kWideDepth, 16].
  float* wide = nullptr;
};
constexpr int64_t kWideDepth = 256;

// The sums of one row and one panel.
struct FloatSums {
  Vector outputs[kVectors] = {};
};
INLINE Vector Scaled(const Product& /*p*/, int64_t /*row*/, int64_t /*column*/,
                     const FloatSums& sums, int v) {
  return sums.outputs[v];
}

// The first output of a vector of a tile.
INLINE int64_t Column(const Place& place, int v) {
  return (place.panel + v / kVectors * place.apart) * kPanel + v % kVectors * kLanes;
}

// Writes a row of a tile's results, from its sums [kPanels]. kWhole: no panel goes beyond the last
// output.
template <bool kWhole, int kPanels, typename Sums>
INLINE void FinishRow(const Product& p, const Place& place, int64_t row, const Sums* sums) {
  const Vector least = Same(p.epilogue == Epilogue::kRelu ? 0 : -__builtin_inff());
#pragma GCC unroll 16
  for (int v = 0; v < kPanels * kVectors; ++v) {
    const int64_t column = Column(place, v);
    const int64_t count = kWhole ? kLanes : Least(kLanes, p.out - column);
    if (count <= 0) continue;
    Vector sum = Scaled(p, row, column, sums[v / kVectors], v % kVectors);
    sum += Load(p.bias + column);
    sum = sum < least ? least : sum;  // NaN stays NaN.
    float* const y = p.y + row * p.out + column;
    if constexpr (kWhole) {
      if (p.epilogue == Epilogue::kAdd) sum += Load(y);
      Store(sum, y);
    } else {
      if (p.epilogue == Epilogue::kAdd) sum += LoadPart(y, count);
      StorePart(sum, count, y);
    }
  }
}

// Writes the results of some rows, from their sums [rows, kPanels].
template <int kPanels, typename Sums>
SEPARATE void FinishRows(const Product& p, const Place& place, int64_t rows, const Sums* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    FinishRow<false, kPanels>(p, place, place.row + r, sums + r * kPanels);
  }
}

// A tile begins with the sums of the blocks of inputs before, which lie in `partial`, [kRows,
// kPanels]. A last block prefetches the places of the results: writing them would wait otherwise.
template <int kRows, int kPanels, typename Sums>
INLINE void BeginTile(const Product& p, const Place& place, bool last, const Sums* partial,
                      Sums (&sums)[kRows][kPanels]) {
  if (place.begin > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kPanels; ++v) sums[r][v] = partial[r * kPanels + v];
    }
  }
  if (!last) return;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kPanels; ++v) {
      __builtin_prefetch(p.y + (place.row + r) * p.out + Column(place, v * kVectors), 1);
    }
  }
}

// A tile ends with its results after the last block of inputs, or leaves its sums in `partial`.
template <int kRows, int kPanels, typename Sums>
INLINE void EndTile(const Product& p, const Place& place, bool last, Sums* partial,
                    const Sums (&sums)[kRows][kPanels]) {
  if (last && Column(place, kPanels * kVectors - 1) + kLanes <= p.out) {
    const Product copy = p;  // As results could change p itself, the compiler would load it again.
    const Place here = place;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      FinishRow<true, kPanels>(copy, here, here.row + r, sums[r]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kPanels; ++v) partial[r * kPanels + v] = sums[r][v];
  }
  if (last) FinishRows<kPanels>(p, place, kRows, partial);
}

// A tile of kRows rows x kPanels panels. The sums stay in registers while the inputs go by. The
// size of the tile and that of the blocks decide only which sums are computed side by side, never
// the order within a sum. Tiles are not inlined: all products share them, and are compiled in a
// third of the time.
template <typename Weight, int kRows, int kPanels>
SEPARATE void Tile(const Product& p, const Place& place, Weights<Weight> w, FloatSums* partial) {
  constexpr int kAll = kPanels * kVectors;
  const bool last = place.end >= p.in;
  FloatSums sums[kRows][kPanels];
  BeginTile(p, place, last, partial, sums);
  const float* x = p.x + place.row * p.in + place.begin;
  for (int64_t i = 0; i < place.end - place.begin; ++i) {
    const auto weights = [&](int v) INLINE_LAMBDA {
      const int64_t at = i * kPanel + v % kVectors * kLanes;
      const Vector some = Widen(w.first + v / kVectors * w.between + at);
      if constexpr (sizeof(Weight) == 2) {
        if (w.wide != nullptr) Store(some, w.wide + v / kVectors * kWideDepth * kPanel + at);
      }
      return some;
    };
    // Either the weights or the inputs are loaded once, whichever are fewer registers.
    if constexpr (kRows <= 3) {
#pragma GCC unroll 16
      for (int v = 0; v < kAll; ++v) {
        const Vector some = weights(v);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          sums[r][v / kVectors].outputs[v % kVectors] += some * x[r * p.in + i];
        }
      }
    } else {
      Vector all[kAll];
#pragma GCC unroll 16
      for (int v = 0; v < kAll; ++v) all[v] = weights(v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
        for (int v = 0; v < kAll; ++v) {
          sums[r][v / kVectors].outputs[v % kVectors] += all[v] * x[r * p.in + i];
        }
      }
    }
    if (w.ahead.step > 0) w.ahead.template Prefetch<kPanels>();
  }
  EndTile(p, place, last, partial, sums);
}

// int8: y = x_scale w_scale sum_i x_i w_i, with the sum exact in 32-bit integers. The weights of
// four inputs and 16 outputs lie together, 64 bytes, called a group:
//   w[output 0][inputs 0..3], w[output 1][inputs 0..3], ..., w[output 15][inputs 0..3]
// The processors' instructions multiply unsigned bytes with signed ones. VNNI adds four products to
// a sum at once. Inputs are increased by 128; w_sum takes that back. AVX2 multiplies the absolute
// values of the inputs with the weights, whose bits are inverted if the input is negative. Two
// neighbouring products are added in 16 bits, then the two of the next group, and the result is
// widened: Quantise() keeps the sum of these four products within 16 bits. An inverted weight ~w is
// -w - 1, so that each sum lacks the absolute values of the negative inputs:
// QuantisedRow::too_little.
constexpr int64_t kGroup = 4 * kPanel;  // The bytes of a group.
// Stores the lowest byte of each of the first `count` lanes. The intrinsics are for GCC 12, which
// would take the lanes out one by one.
INLINE void StoreBytes(Integers v, int64_t count, uint8_t* x) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(v));
#elif defined(__AVX2__)
  const auto low = reinterpret_cast<__m256i>(v & 255);
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  const __m128i bytes = _mm_packus_epi16(words, words);
#else
  const auto bytes = __builtin_convertvector(v, Bytes);
#endif
  if (count == kLanes) {
    __builtin_memcpy(x, &bytes, kLanes);
  } else {
    __builtin_memcpy(x, &bytes, count);
  }
}
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr bool kPositive = true;  // Inputs are increased by 128.
struct Int8Sums {
  Integers outputs[kVectors] = {};
};
// Stores a row's inputs, given increased by 128. Returns the amounts that the sums will lack.
INLINE Integers StoreQuantised(Integers positive, int64_t count, uint8_t* x, int64_t /*in*/) {
  StoreBytes(positive, count, x);
  return Integers{};
}
// With the intrinsic, GCC 12 copies the sums around, which halves the speed.
INLINE void MultiplyAdd(Integers inputs, Integers weights, Integers* sum) {
#if defined(__AVX512VNNI__)
  asm("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(inputs), "v"(weights));
#else
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*sum) : "x"(inputs), "x"(weights));
#endif
}
INLINE Integers SameFour(const uint8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof(four));
  return Integers{} + four;
}
INLINE Integers SumsOf(const Int8Sums& sum, int v) { return sum.outputs[v]; }
#elif defined(__AVX2__)
constexpr bool kPositive = false;
#if defined(__AVX512BW__)
typedef __m512i Words;
INLINE Words SameWords(int32_t x) { return _mm512_set1_epi32(x); }
INLINE Words MultiplyPairs(Words x, Words w) { return _mm512_maddubs_epi16(x, w); }
INLINE Words AddWords(Words a, Words b) { return _mm512_add_epi16(a, b); }
INLINE Words AddPairs(Words words) { return _mm512_madd_epi16(words, _mm512_set1_epi16(1)); }
#else
typedef __m256i Words;
INLINE Words SameWords(int32_t x) { return _mm256_set1_epi32(x); }
INLINE Words MultiplyPairs(Words x, Words w) { return _mm256_maddubs_epi16(x, w); }
INLINE Words AddWords(Words a, Words b) { return _mm256_add_epi16(a, b); }
INLINE Words AddPairs(Words words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }
#endif
struct Int8Sums {
  Words outputs[kVectors] = {};
};
// Stores the absolute values of a row's inputs, and `in` bytes behind them 0xff for each negative
// input, 0 for the others. Inputs are given increased by 128. Returns the amounts that the sums
// will lack.
INLINE Integers StoreQuantised(Integers positive, int64_t count, uint8_t* x, int64_t in) {
  const Integers value = positive - 128;
  const Integers negative = value >> 31;
  const Integers size = (value ^ negative) - negative;
  StoreBytes(size, count, x);
  StoreBytes(negative, count, x + in);
  return size & negative;
}
INLINE Words SameFour(const uint8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof(four));
  return SameWords(four);
}
template <int kGroups>
INLINE void Dot(const uint8_t* x, int64_t in, const int8_t* w, Int8Sums* sum) {
  for (int o = 0; o < kVectors; ++o) {
    Words pairs = {};
    for (int g = 0; g < kGroups; ++g) {
      Words weights;
      __builtin_memcpy(&weights, w + g * kGroup + o * 4 * kLanes, sizeof(weights));
      const Words products = MultiplyPairs(SameFour(x + 4 * g), weights ^ SameFour(x + in + 4 * g));
      pairs = g == 0 ? products : AddWords(pairs, products);
    }
    // With the intrinsic, GCC 12 copies the sums around.
    asm("vpaddd %1, %0, %0" : "+v"(sum->outputs[o]) : "v"(AddPairs(pairs)));
  }
}
INLINE Integers SumsOf(const Int8Sums& sum, int v) {
  return reinterpret_cast<Integers>(sum.outputs[v]);
}
#elif defined(__aarch64__)
constexpr bool kPositive = false;
struct Int8Sums {
  int32x4_t outputs[4] = {};  // 4 outputs each.
};
INLINE Integers StoreQuantised(Integers positive, int64_t count, uint8_t* x, int64_t /*in*/) {
  StoreBytes(positive - 128, count, x);
  return Integers{};
}
template <int kGroups>
INLINE void Dot(const uint8_t* x, int64_t /*in*/, const int8_t* w, Int8Sums* sum) {
  for (int g = 0; g < kGroups; ++g) {
    int32_t four;
    __builtin_memcpy(&four, x + 4 * g, sizeof(four));
    const int8x16_t inputs = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma GCC unroll 4
    for (int o = 0; o < 4; ++o) {
      const int8x16_t weights = vld1q_s8(w + g * kGroup + 16 * o);
#if defined(__ARM_FEATURE_DOTPROD)
      sum->outputs[o] = vdotq_s32(sum->outputs[o], weights, inputs);
#else  // Two products of at most 127^2 each fit into 16 bits.
      const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(inputs));
      const int16x8_t high = vmull_high_s8(weights, inputs);
      sum->outputs[o] = vpadalq_s16(sum->outputs[o], vpaddq_s16(low, high));
#endif
    }
  }
}
INLINE Integers SumsOf(const Int8Sums& sum, int v) {
  return reinterpret_cast<Integers>(sum.outputs[v]);
}
#elif defined(__SSE2__) && !defined(LEAPSTREAM_TILES)
constexpr bool kPositive = false;
struct Int8Sums {
  __m128i pairs[8] = {};  // For each output the sums of inputs 0 and 1 of a group, and of 2 and 3.
};
INLINE Integers StoreQuantised(Integers positive, int64_t count, uint8_t* x, int64_t /*in*/) {
  StoreBytes(positive - 128, count, x);
  return Integers{};
}
// Signed bytes as 16-bit numbers: the first eight, and the others.
INLINE __m128i LowWords(__m128i bytes) {
  return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
INLINE __m128i HighWords(__m128i bytes) {
  return _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
}
INLINE Integers SumsOf(const Int8Sums& sum, int v) {
  const __m128 first = _mm_castsi128_ps(sum.pairs[2 * v]);
  const __m128 second = _mm_castsi128_ps(sum.pairs[2 * v + 1]);
  return reinterpret_cast<Integers>(_mm_shuffle_ps(first, second, 0x88)) +
         reinterpret_cast<Integers>(_mm_shuffle_ps(first, second, 0xdd));
}
#else
constexpr bool kPositive = kTiles;
struct Int8Sums {
  int32_t sums[kPanel] = {};
};
INLINE Integers StoreQuantised(Integers positive, int64_t count, uint8_t* x, int64_t /*in*/) {
  StoreBytes(kPositive ? positive : positive - 128, count, x);
  return Integers{};
}
template <int kGroups>
INLINE void Dot(const uint8_t* x, int64_t /*in*/, const int8_t* w, Int8Sums* sum) {
  for (int o = 0; o < kPanel; ++o) {
    for (int i = 0; i < 4 * kGroups; ++i) {
      const int input = kPositive ? x[i] : static_cast<int8_t>(x[i]);
      sum->sums[o] += input * w[i / 4 * kGroup + 4 * o + i % 4];
    }
  }
}
INLINE Integers SumsOf(const Int8Sums& sum, int v) {
  return *reinterpret_cast<const Integers*>(sum.sums + v * kLanes);
}
#endif

// Puts sums that share registers into their places. Those of ArmI8mm are of two rows, 2k and 2k +
// 1, and two outputs, [row 2k: output 0, 1; row 2k + 1: output 0, 1], the registers of outputs 0 to
// 7 in the place of row 2k, the others in that of row 2k + 1. All others lie right from the
// beginning.
template <int kRows, int kPanels>
INLINE void SeparateRows([[maybe_unused]] Int8Sums (&sums)[kRows][kPanels]) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
#pragma GCC unroll 4
  for (int r = 0; r + 2 <= kRows; r += 2) {
#pragma GCC unroll 4
    for (int v = 0; v < kPanels; ++v) {
      Int8Sums rows[2];
#pragma GCC unroll 4
      for (int o = 0; o < 4; ++o) {
        const int64x2_t* const two =
            reinterpret_cast<const int64x2_t*>(sums[r + o / 2][v].outputs + o % 2 * 2);
        rows[0].outputs[o] = vreinterpretq_s32_s64(vzip1q_s64(two[0], two[1]));
        rows[1].outputs[o] = vreinterpretq_s32_s64(vzip2q_s64(two[0], two[1]));
      }
      sums[r][v] = rows[0];
      sums[r + 1][v] = rows[1];
    }
  }
#endif
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
// The inputs of one or two groups; zeros stand for the second one.
template <int kGroups>
INLINE int8x8_t EightInputs(const uint8_t* x) {
  uint64_t bytes = 0;
  __builtin_memcpy(&bytes, x, 4 * kGroups);
  return vcreate_s8(bytes);
}
#endif

template <int kRows, int kPanels, int kGroups>
INLINE void AddGroups(const uint8_t* x, int64_t in, const int8_t* w, int64_t between,
                      Int8Sums (&sums)[kRows][kPanels]) {
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#pragma GCC unroll 2
  for (int g = 0; g < kGroups; ++g) {
    const auto weights = [&](int v, int o) INLINE_LAMBDA {
      return *reinterpret_cast<const Integers*>(w + v * between + g * kGroup + o * 4 * kLanes);
    };
    // As with floats: what is fewer registers is loaded once.
    if constexpr (kRows <= 3) {
      Integers inputs[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) inputs[r] = SameFour(x + r * 2 * in + 4 * g);
#pragma GCC unroll 4
      for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 4
        for (int o = 0; o < kVectors; ++o) {
          const Integers some = weights(v, o);
#pragma GCC unroll 4
          for (int r = 0; r < kRows; ++r) MultiplyAdd(inputs[r], some, &sums[r][v].outputs[o]);
        }
      }
    } else {
      Integers all[kPanels][kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 4
        for (int o = 0; o < kVectors; ++o) all[v][o] = weights(v, o);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Integers inputs = SameFour(x + r * 2 * in + 4 * g);
#pragma GCC unroll 4
        for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 4
          for (int o = 0; o < kVectors; ++o) {
            MultiplyAdd(inputs, all[v][o], &sums[r][v].outputs[o]);
          }
        }
      }
    }
  }
#elif defined(__ARM_FEATURE_MATMUL_INT8)
  // smmla multiplies two rows with two outputs, eight inputs each. The weights of an output for
  // these lie in two groups; zip brings them together. The last of an odd number of rows takes
  // sdot.
  int8x16_t pairs[kRows / 2 + 1];
#pragma GCC unroll 4
  for (int r = 0; r + 2 <= kRows; r += 2) {
    pairs[r / 2] = vcombine_s8(EightInputs<kGroups>(x + r * 2 * in),
                               EightInputs<kGroups>(x + (r + 1) * 2 * in));
  }
#pragma GCC unroll 4
  for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 4
    for (int o = 0; o < 4; ++o) {
      const int8_t* const group = w + v * between + 16 * o;
      asm volatile("" : : : "memory");  // Or GCC 12 loads all weights first, and spills sums.
      const int32x4_t low = vreinterpretq_s32_s8(vld1q_s8(group));
      const int32x4_t high =
          kGroups == 2 ? vreinterpretq_s32_s8(vld1q_s8(group + kGroup)) : vdupq_n_s32(0);
      const int8x16_t first = vreinterpretq_s8_s32(vzip1q_s32(low, high));
      const int8x16_t second = vreinterpretq_s8_s32(vzip2q_s32(low, high));
#pragma GCC unroll 4
      for (int r = 0; r + 2 <= kRows; r += 2) {
        int32x4_t* const two = sums[r + o / 2][v].outputs + o % 2 * 2;
        two[0] = vmmlaq_s32(two[0], pairs[r / 2], first);
        two[1] = vmmlaq_s32(two[1], pairs[r / 2], second);
      }
      if constexpr (kRows % 2 == 1) {
        const int8x8_t inputs = EightInputs<kGroups>(x + (kRows - 1) * 2 * in);
        int32x4_t* const sum = &sums[kRows - 1][v].outputs[o];
        *sum = vdotq_lane_s32(*sum, vreinterpretq_s8_s32(low), inputs, 0);
        *sum = vdotq_lane_s32(*sum, vreinterpretq_s8_s32(high), inputs, 1);
      }
    }
  }
#elif defined(__SSE2__) && !defined(__AVX2__) && !defined(LEAPSTREAM_TILES)
  for (int g = 0; g < kGroups; ++g) {
    __m128i inputs[kRows];
    for (int r = 0; r < kRows; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * 2 * in + 4 * g, sizeof(four));
      inputs[r] = LowWords(_mm_set1_epi32(four));
    }
    for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 4
      for (int o = 0; o < 4; ++o) {
        const __m128i weights = _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(w + v * between + g * kGroup + 16 * o));
        const __m128i low = LowWords(weights), high = HighWords(weights);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          __m128i* const pairs = sums[r][v].pairs + 2 * o;
          pairs[0] = _mm_add_epi32(pairs[0], _mm_madd_epi16(low, inputs[r]));
          pairs[1] = _mm_add_epi32(pairs[1], _mm_madd_epi16(high, inputs[r]));
        }
      }
    }
  }
#else
#pragma GCC unroll 16
  for (int v = 0; v < kPanels; ++v) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Dot<kGroups>(x + r * 2 * in, in, w + v * between, &sums[r][v]);
    }
  }
#endif
}

INLINE Vector Scaled(const Product& p, int64_t row, int64_t column, const Int8Sums& sums, int v) {
  Integers sum = SumsOf(sums, v);
  if constexpr (kPositive) {
    sum -= *reinterpret_cast<const Integers*>(p.w_sum + column);
  } else {
    sum += p.x_rows[row].too_little;
  }
  return __builtin_convertvector(sum, Vector) * (Load(p.w_scale + column) * p.x_rows[row].scale);
}

template <typename Weight, int kRows, int kPanels>
SEPARATE void Tile(const Product& p, const Place& place, Weights<Weight> w, Int8Sums* partial) {
  const int64_t in = (p.in + 3) / 4 * 4;
  const bool last = place.end >= in;
  Int8Sums sums[kRows][kPanels];
  BeginTile(p, place, last, partial, sums);
  const uint8_t* x = static_cast<const uint8_t*>(p.x_quantised) + place.row * 2 * in + place.begin;
  const int64_t count = Least(place.end, in) - place.begin;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    AddGroups<kRows, kPanels, 2>(x + i, in, w.first + i * kPanel, w.between, sums);
    if (w.ahead.step > 0) {  // These were two lines of weights.
      w.ahead.template Prefetch<kPanels>();
      w.ahead.template Prefetch<kPanels>();
    }
  }
  if (i < count) AddGroups<kRows, kPanels, 1>(x + i, in, w.first + i * kPanel, w.between, sums);
  if (last) SeparateRows(sums);
  EndTile(p, place, last, partial, sums);
}

// The differences between the types of weights: the registers that the sums of one row and one
// panel take, the most rows of a tile, the inputs of a block, and a panel's numbers for one input.
template <typename Weight>
struct Traits {
  typedef FloatSums Sums;
  static constexpr int kRegisters = kVectors;
  static constexpr int kSums = kFloatSums;
  static constexpr int kMostRows = kFloatRows;
  static constexpr int64_t kDepth = kWideDepth;
  static constexpr int64_t kBlockRows = 48;
  INLINE int64_t Inputs(const Product& p) { return p.in; }
};
template <>
struct Traits<int8_t> {
  typedef Int8Sums Sums;
#if defined(__AVX2__) || defined(__aarch64__)
  static constexpr int kRegisters = kVectors;
#else
  static constexpr int kRegisters = 2;
#endif
  static constexpr int kSums = kInt8Sums;
  static constexpr int kMostRows = kSums / kRegisters < kInt8Rows ? kSums / kRegisters : kInt8Rows;
  static constexpr int64_t kDepth = 1024;
  static constexpr int64_t kBlockRows = 128;
  INLINE int64_t Inputs(const Product& p) { return (p.in + 3) / 4 * 4; }
};

// The panels of a tile of so many rows: as many as the registers hold sums for, but no more than
// four, since the processor does not prefetch more streams. (With 16 registers, 12 sums and three
// inputs would leave none for products.)
template <typename Weight>
constexpr int PanelsOf(int rows) {
  const int sums = Traits<Weight>::kSums - (rows == 3 ? 1 : 0);
  const int fit = sums / (rows * Traits<Weight>::kRegisters);
  return fit < 1 ? 1 : fit > 4 ? 4 : fit;
}

// Products of one tile of rows. The panels of a tile lie far apart, since memory is faster for
// streams from different pages: with AVX2, one row of int8 takes 18 % less time than with
// neighbouring panels. Products of several rows prefetch 4 KB ahead (2 KB was as good, 512 bytes
// was not). Products of one row go through the weights at the memory's own speed: with floats they
// prefetch nothing, with int8 512 bytes ahead (4 KB was slower by 7 %). With AVX-512 all prefetch 4
// KB ahead: one row took 5 to 10 % less time, eight rows 20 to 30 %, than without.
template <typename Weight, int kRows>
INLINE void OneTile(const Product& p) {
  typedef Traits<Weight> T;
  constexpr int kPanels = PanelsOf<Weight>(kRows);
  alignas(64) typename T::Sums sums[kRows * kPanels];
  const int64_t in = T::Inputs(p);
  const int64_t apart = (p.end - p.begin) / kPanels;
  const auto* const panels = static_cast<const Weight*>(p.panels);
  constexpr int64_t kAhead = kAvx512 || kRows > 1 ? 4096 : sizeof(Weight) == 1 ? 512 : 0;
  constexpr int64_t kStep = kAhead > 0 ? (sizeof(Weight) == 2 ? 32 : 64) : 0;
  const auto ahead = [&](const Weight* w) {
    return Ahead{reinterpret_cast<const char*>(w) + kAhead, kStep,
                 apart * in * kPanel * static_cast<int64_t>(sizeof(Weight))};
  };
  for (int64_t panel = p.begin; panel < p.begin + apart; ++panel) {
    const Weight* const w = panels + panel * in * kPanel;
    Tile<Weight, kRows, kPanels>(p, {0, panel, apart, 0, in}, {w, apart * in * kPanel, ahead(w)},
                                 sums);
  }
  for (int64_t panel = p.begin + kPanels * apart; panel < p.end; ++panel) {
    const Weight* const w = panels + panel * in * kPanel;
    Tile<Weight, kRows, 1>(p, {0, panel, 0, 0, in}, {w, 0, ahead(w)}, sums);
  }
}
// OneTile() for a number of rows that is only known at run time, from kRows down.
template <typename Weight, int kRows>
INLINE void TileRows(const Product& p) {
  if (p.rows == kRows) return OneTile<Weight, kRows>(p);
  if constexpr (kRows > 1) TileRows<Weight, kRows - 1>(p);
}

// Calls Tile() for a number of rows that is only known at run time, from kRows down. Tiles of less
// than half of the rows do not occur: more than kMostRows rows are shared evenly.
template <int kRows, int kPanels, typename Weight, typename Sums>
INLINE void TileOf(int64_t rows, const Product& p, const Place& place, Weights<Weight> w,
                   Sums* partial) {
  if (rows == kRows) return Tile<Weight, kRows, kPanels>(p, place, w, partial);
  if constexpr (kRows > (Traits<Weight>::kMostRows + 1) / 2) {
    TileOf<kRows - 1, kPanels>(rows, p, place, w, partial);
  }
}

// AMX: the sums of `count` rows over as many inputs as fill tiles, in `sums` [count, kPanels]. 32
// rows x 2 panels at a time take four of the eight tile registers. A group of weights is a row of
// AMX's second factor. If the rows are no multiple of 16, the last 16 begin earlier, and some are
// computed twice. Returns the number of inputs that are done: none if there are too few rows.
template <int kPanels>
SEPARATE int64_t TileSums([[maybe_unused]] const Product& p, [[maybe_unused]] const Place& place,
                          [[maybe_unused]] int64_t count, [[maybe_unused]] Int8Sums* sums) {
#ifdef LEAPSTREAM_TILES
  static_assert(kPanels <= 2 && sizeof(Int8Sums) == kTileBytes, "see the numbers of tiles");
  if (count < kTileRows) return 0;
  const int64_t in = place.end;
  const int64_t inputs = in / kTileBytes * kTileBytes;
  const auto* const x = static_cast<const uint8_t*>(p.x_quantised) + place.row * 2 * in;
  const int8_t* const w = static_cast<const int8_t*>(p.panels) + place.panel * in * kPanel;
  const int64_t between = place.apart * in * kPanel;
  const int64_t passes = (count + 2 * kTileRows - 1) / (2 * kTileRows);
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t row = Least(2 * kTileRows * pass, count - kTileRows);
    const int64_t more = Least(row + kTileRows, count - kTileRows);
    ZeroTile<0>();
    ZeroTile<1>();
    ZeroTile<2>();
    ZeroTile<3>();
    for (int64_t i = 0; i < inputs; i += kTileBytes) {
      const int8_t* const some = w + i * kPanel;
      LoadTile<4>(x + row * 2 * in + i, 2 * in);
      LoadTile<6>(some, kGroup);
      MultiplyTiles<0, 4, 6>();
      if (kPanels > 1) LoadTile<7>(some + between, kGroup);
      if (kPanels > 1) MultiplyTiles<1, 4, 7>();
      if (more > row) {
        LoadTile<5>(x + more * 2 * in + i, 2 * in);
        MultiplyTiles<2, 5, 6>();
        if (kPanels > 1) MultiplyTiles<3, 5, 7>();
      }
      for (int64_t line = pass; line < kTileRows; line += passes) {  // The panels that come next.
        for (int v = 0; v < kPanels; ++v) {
          __builtin_prefetch(some + v * between + in * kPanel + line * kGroup, 0, 2);
        }
      }
    }
    constexpr int64_t kStride = kPanels * sizeof(Int8Sums);
    StoreTile<0>(sums + row * kPanels, kStride);
    if (kPanels > 1) StoreTile<1>(sums + row * kPanels + 1, kStride);
    if (more > row) StoreTile<2>(sums + more * kPanels, kStride);
    if (more > row && kPanels > 1) StoreTile<3>(sums + more * kPanels + 1, kStride);
  }
  return inputs;
#else
  return 0;
#endif
}

// Some of the tiles that share the rows of a product.
struct Rows {
  int64_t all, begin, end;
};

// These rows of some panels. A block of a panel, a part of its inputs, stays in
// the first-level cache while all these rows pass it, and the rows stay in the second-level cache.
template <typename Weight, int kPanels>
INLINE void Block(const Product& p, const Rows& rows, int64_t panel, int64_t apart) {
  typedef Traits<Weight> T;
  constexpr int kMost = T::kMostRows;
  constexpr int64_t kDepth = T::kDepth;
  alignas(64) typename T::Sums partial[T::kBlockRows * kPanels];
  alignas(64) float wide[sizeof(Weight) == 2 ? kPanels * kDepth * kPanel : 1];
  const int64_t in = T::Inputs(p);
  const int64_t tiles = rows.end - rows.begin;
  const int64_t row = p.rows * rows.begin / rows.all;
  int64_t begin = 0;
  if constexpr (kTiles && sizeof(Weight) == 1) {
    const int64_t count = p.rows * rows.end / rows.all - row;
    begin = TileSums<kPanels>(p, {row, panel, apart, 0, in}, count, partial);
    if (begin == in) {
      FinishRows<kPanels>(p, {row, panel, apart, 0, in}, count, partial);
    }
  }
  for (; begin < in; begin += kDepth) {
    const int64_t depth = Least(kDepth, in - begin);
    const Weight* const w = static_cast<const Weight*>(p.panels) + (panel * in + begin) * kPanel;
    const int64_t bytes = depth * kPanel * static_cast<int64_t>(sizeof(Weight));
    const int64_t lines = sizeof(Weight) == 1 ? depth / 4 : depth;
    const int64_t step = lines > 0 ? bytes / (lines * tiles) : 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t first = p.rows * (rows.begin + t) / rows.all;
      const int64_t last = p.rows * (rows.begin + t + 1) / rows.all;
      const Ahead ahead = {reinterpret_cast<const char*>(w) + bytes + t * bytes / tiles, step,
                           apart * in * kPanel * static_cast<int64_t>(sizeof(Weight))};
      const auto tile = [&](auto weights) INLINE_LAMBDA {
        TileOf<kMost, kPanels>(last - first, p, {first, panel, apart, begin, begin + depth},
                               weights, partial + (first - row) * kPanels);
      };
      if constexpr (sizeof(Weight) == 2) {
        if (t > 0) {
          tile(Weights<float>{wide, kDepth * kPanel, ahead});
          continue;
        }
      }
      tile(Weights<Weight>{w, apart * in * kPanel, ahead, wide});
    }
  }
}

template <typename Weight>
INLINE void MultiplyRows(const Product& p) {
  typedef Traits<Weight> T;
  constexpr int kMost = T::kMostRows;
  static_assert(kMost >= 3, "see TileOf()");
  if (p.rows <= kMost) return TileRows<Weight, kMost>(p);
  constexpr int kPanels = PanelsOf<Weight>(kMost);
  // Tiles share the rows evenly, and blocks the tiles: none has more than it has room for.
  constexpr int64_t kMostTiles = T::kBlockRows / kMost;
  const int64_t tiles = (p.rows + kMost - 1) / kMost;
  const int64_t blocks = (tiles + kMostTiles - 1) / kMostTiles;
  const int64_t apart = (p.end - p.begin) / kPanels;
  for (int64_t b = 0; b < blocks; ++b) {
    const Rows rows = {tiles, tiles * b / blocks, tiles * (b + 1) / blocks};
    for (int64_t panel = p.begin; panel < p.begin + apart; ++panel) {
      Block<Weight, kPanels>(p, rows, panel, apart);
    }
    for (int64_t panel = p.begin + kPanels * apart; panel < p.end; ++panel) {
      Block<Weight, 1>(p, rows, panel, 0);
    }
  }
}

void Multiply(const Product& p) { MultiplyRows<float>(p); }
void MultiplyBfloat16(const Product& p) { MultiplyRows<uint16_t>(p); }
void MultiplyInt8(const Product& p) {
#ifdef LEAPSTREAM_TILES
  if (p.rows >= kTileRows) {
    ConfigureTiles();
    MultiplyRows<int8_t>(p);
    return ReleaseTiles();
  }
#endif
  MultiplyRows<int8_t>(p);
}

// The bits of |x[i]| and of the values after it; zero from `in` on.
INLINE Integers Sizes(const float* x, int64_t i, int64_t in) {
  const Vector v = i + kLanes <= in ? Load(x + i) : i < in ? LoadPart(x + i, in - i) : Vector{};
  return reinterpret_cast<Integers>(v) & 0x7fffffff;
}

INLINE float Most(Integers sizes) {
  int32_t most = 0;
  for (int i = 0; i < kLanes; ++i) most = sizes[i] > most ? sizes[i] : most;
  float result;
  __builtin_memcpy(&result, &most, sizeof(result));
  return result;
}

// Quantises a row. Four inputs multiply side by side: n, n + 1, n + 4 and n + 5 of each eight, with
// n = 0 or 2. Their absolute values add up to 254 at most, which times 128 is 32,512. This bound
// rarely costs precision, as few rows have their greatest inputs so close together. It holds on all
// processors, so that all quantise alike.
QuantisedRow Quantise(const float* x, int64_t in, void* to) {
  auto* out = static_cast<uint8_t*>(to);
  // The bits of absolute values, taken as integers, have the order of the values; infinity and NaN
  // are above all finite ones.
  Integers sizes = {}, sums = {};
  for (int64_t i = 0; i < in; i += kLanes < 8 ? 8 : kLanes) {
    const Integers a = Sizes(x, i, in);
    sizes = a > sizes ? a : sizes;
    auto columns = reinterpret_cast<Vector>(a);  // |x[n]| + |x[n + 4]|
    if constexpr (kLanes < 8) {
      const Integers b = Sizes(x, i + 4, in);
      sizes = b > sizes ? b : sizes;
      columns += reinterpret_cast<Vector>(b);
    } else {
      columns += Crossed<4>(columns);
    }
    const auto sum = reinterpret_cast<Integers>(columns + Crossed<1>(columns));
    sums = sum > sums ? sum : sums;
  }
  const float most = Most(sizes), most_of_four = Most(sums);
  const bool finite = most - most == 0;
  float scale = most / 127;
  if (most_of_four / 252 > scale) scale = most_of_four / 252;  // Rounding can add 2 to the 252.
  const float inverse = finite && scale >= __FLT_MIN__ ? 1 / scale : 0;
  const int64_t padded = (in + 3) / 4 * 4;
  Integers too_little = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    const Vector v = i + kLanes <= in ? Load(x + i) : LoadPart(x + i, in - i);
    // This rounds to nearest: 128.5 makes every number positive, and the conversion truncates.
    const Vector shifted = (finite ? v * inverse : Vector{}) + 128.5f;
    too_little += StoreQuantised(__builtin_convertvector(shifted, Integers),
                                 Least(kLanes, padded - i), out + i, padded);
  }
  QuantisedRow row = {finite ? scale : most - most, 0};
  for (int i = 0; i < kLanes; ++i) row.too_little += too_little[i];
  return row;
}

// --- Rows ---

constexpr float kLayerNormEpsilon = 1e-5f;  // The same as fairseq's.

void LayerNorm(const float* x, int64_t width, const float* weight, const float* bias, float* y) {
  const int64_t whole = width / kLanes * kLanes;
  Vector sums = {};
  for (int64_t i = 0; i < whole; i += kLanes) sums += Load(x + i);
  float sum = Sum(sums);
  for (int64_t i = whole; i < width; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(width);
  Vector squares = {};
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vector centred = Load(x + i) - mean;
    squares += centred * centred;
  }
  float square = Sum(squares);
  for (int64_t i = whole; i < width; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale =
      1.0f / __builtin_sqrtf(square / static_cast<float>(width) + kLayerNormEpsilon);
  for (int64_t i = 0; i < width; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

// exp, sine and cosine use the polynomials of Cephes (netlib.org/cephes, single precision), with
// errors of an ulp or two.
INLINE Vector Exp(Vector x) {
  x = Select(x < -87.0f, Same(-87.0f), x);
  x = Select(x > 88.0f, Same(88.0f), x);
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer.
  const Vector shifted = x * 1.44269504088896341f + kRound;
  const Vector n = shifted - kRound;
  const Vector r = x - n * 0.693359375f - n * -2.12194440e-4f;
  Vector p = Same(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  return p * reinterpret_cast<Vector>(power);
}

float SumExp(const float* x, int64_t count, float most, float* out) {
  const int64_t whole = count / kLanes * kLanes;
  Vector sums = {};
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vector e = Exp(Load(x + i) - most);
    if (out != nullptr) Store(e, out + i);
    sums += e;
  }
  float sum = Sum(sums);
  if (whole < count) {
    const Vector e = Exp(LoadPart(x + whole, count - whole) - most);
    if (out != nullptr) StorePart(e, count - whole, out + whole);
    for (int64_t i = 0; i < count - whole; ++i) sum += e[i];
  }
  return sum;
}

INLINE Vector LeapAngle(Vector x, Vector* cosine) {
  constexpr float kHalfPi = 1.57079632679489662f;
  const Vector p = 1.0f / (1.0f + Exp(-x));
  // The polynomials take angles up to pi/4. For a greater angle, sine and cosine are the cosine and
  // the sine of pi/2 - angle.
  const Integers low = p <= 0.5f;
  const Vector angle = Select(low, p, 1.0f - p) * kHalfPi;
  const Vector z = angle * angle;
  const Vector s =
      ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * angle + angle;
  const Vector c =
      ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
      0.5f * z + 1.0f;
  *cosine = Select(low, c, s);
  return Select(low, s, c);
}

void LeapAngles(float* x, int64_t count, float* cosine) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t part = Least(kLanes, count - i);
    Vector c;
    const Vector s = LeapAngle(part == kLanes ? Load(x + i) : LoadPart(x + i, part), &c);
    StorePart(s, part, x + i);
    StorePart(c, part, cosine + i);
  }
}

// --- Attention ---

// The lanes of a vector that a row fills: all of them, which the compiler then knows, or fewer at a
// row's end. The end of a row is not computed by a loop over single numbers: in such a loop GCC may
// or may not fuse a multiplication with an addition, depending on the code beside it.
struct AllLanes {
  INLINE Vector From(const float* x) { return Load(x); }
  INLINE void To(Vector v, float* x) { Store(v, x); }
  INLINE Halves From(const uint16_t* x) { return *reinterpret_cast<const Halves*>(x); }
  INLINE void To(Halves v, uint16_t* x) { *reinterpret_cast<Halves*>(x) = v; }
};
struct FirstLanes {
  int64_t count;
  INLINE_MEMBER Vector From(const float* x) const { return LoadPart(x, count); }
  INLINE_MEMBER void To(Vector v, float* x) const { StorePart(v, count, x); }
  INLINE_MEMBER Halves From(const uint16_t* x) const {
    Halves v = {};
    __builtin_memcpy(&v, x, count * sizeof(uint16_t));
    return v;
  }
  INLINE_MEMBER void To(Halves v, uint16_t* x) const {
    __builtin_memcpy(x, &v, count * sizeof(uint16_t));
  }
};

// float16 numbers as floats, and back: rounded toward zero, a finite number that is too large
// becomes the greatest one, 65504.
INLINE Vector FromHalves(Halves halves) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vector>(_mm512_maskz_cvtph_ps(0xffff, reinterpret_cast<__m256i>(halves)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vector>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(halves)));
#elif defined(__aarch64__)
  return reinterpret_cast<Vector>(vcvt_f32_f16(reinterpret_cast<float16x4_t>(halves)));
#else
  const auto bits = __builtin_convertvector(halves, Integers);
  // Exponent and mantissa at the places that they have in a float: a number too small by 2^112.
  const Vector size = reinterpret_cast<Vector>((bits & 0x7fff) << 13) * 0x1p112f;
  const Integers not_finite = ((bits & 0x7c00) == 0x7c00) & 0x7f800000;
  return reinterpret_cast<Vector>(reinterpret_cast<Integers>(size) | not_finite |
                                  (bits & 0x8000) << 16);
#endif
}
INLINE Halves ToHalves(Vector v) {
#if defined(__AVX512F__)
  constexpr int kTowardZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
  return reinterpret_cast<Halves>(
      _mm512_maskz_cvtps_ph(0xffff, reinterpret_cast<__m512>(v), kTowardZero));
#elif defined(__AVX2__)
  return reinterpret_cast<Halves>(_mm256_cvtps_ph(reinterpret_cast<__m256>(v), _MM_FROUND_TO_ZERO));
#else
  const auto bits = reinterpret_cast<Integers>(v);
  const Integers all = bits & 0x7fffffff, most = Integers{} + 0x477fe000, finite = all < 0x7f800000;
  const Integers size = finite & (all > most ? most : all);
  const Vector small = reinterpret_cast<Vector>(size) * 0x1p-112f;
  return __builtin_convertvector(
      reinterpret_cast<Integers>(small) >> 13 | (~finite & 0x7e00) | (bits >> 16 & 0x8000), Halves);
#endif
}

// The two forms of a head's sums: see SumKernels.
struct PlainSums {
  typedef float Element;
  static constexpr bool kMeans = false;
  static constexpr int64_t kAhead = 4096;
};
struct HalfMeans {
  typedef uint16_t Element;
  static constexpr bool kMeans = true;
  static constexpr int64_t kAhead = 8192;
};

INLINE Vector Widened(Vector v) { return v; }
INLINE Vector Widened(Halves v) { return FromHalves(v); }

// Sums are read at the memory's speed. The processor's own prefetching stops at each page, so that
// their lines are prefetched some way ahead.
template <typename Form>
INLINE void PrefetchSums(const typename Form::Element* row, int64_t count) {
  const auto* at = reinterpret_cast<const char*>(row) + Form::kAhead;
  for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(*row)); i += 64) {
    __builtin_prefetch(at + i);
  }
}

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

// Some features of a head, [first, first + count).
constexpr int64_t kSome = 64;
struct SomeFeatures {
  int64_t first, count;
  float keys[kSome];      // The sums of f, with the rows that are folded.
  float query[kSome];     // The weights of the rows of the sums, or of the means.
  float share[kSome];     // For means: 1 / keys.
  float gone[kSome];      // For means: the part of a mean that the rows that are folded displace.
  int32_t chance[kSome];  // For means: see Rounded().
};

// A mean changes by less and less, in the end by less than the distance of two float16 numbers.
// Rounded to the nearest it would stay where it is. So it is rounded up or down by chance, so that
// it is right in the mean. Chance is made of the bits of the sum of f, which is another one
// whenever the mean changes: nothing has to be kept, and the same positions give the same bits. A
// float16 number stays as it is.
INLINE Halves Rounded(Vector x, Integers chance) {
  return ToHalves(reinterpret_cast<Vector>(reinterpret_cast<Integers>(x) + (chance & 0x1fff)));
}

constexpr int kNoRows = 0, kAnyRows = -1;  // Beside kFoldRows: the rows that a pass folds.

template <typename Form, int kFolded, bool kAttends>
INLINE void Prepare(const float* keys, const HeadRows& rows, const float* query,
                    SomeFeatures* some) {
  for (int64_t i = 0; i < some->count; ++i) {
    some->keys[i] = keys[some->first + i];
    if (Form::kMeans) some->gone[i] = 0;
  }
  if constexpr (kFolded != kNoRows) {
    for (int64_t n = 0; n < rows.count; ++n) {
      const float* const row = rows.rows + n * rows.stride + some->first;
      for (int64_t i = 0; i < some->count; ++i) {
        some->keys[i] += row[i];
        if (Form::kMeans) some->gone[i] += row[i];
      }
    }
  }
  if constexpr (kAttends) {
    for (int64_t i = 0; i < some->count; ++i) {
      some->query[i] = query[some->first + i];
      if (Form::kMeans) some->query[i] *= some->keys[i];
    }
  }
  if constexpr (Form::kMeans && kFolded != kNoRows) {
    for (int64_t i = 0; i < some->count; ++i) {
      const float sum = some->keys[i];
      some->share[i] = sum < __FLT_MIN__ ? 0 : 1 / sum;
      some->gone[i] *= some->share[i];
      uint32_t bits;
      __builtin_memcpy(&bits, &sum, sizeof(bits));
      some->chance[i] = static_cast<int32_t>(bits * 0x9e3779b1u >> 16);
    }
  }
}

// Goes through kCount vectors of some rows of the sums once, from column j on: adds the positions
// that are folded, and adds what the query sees to `out`, [V]. Positions are added one after the
// other, and rows of the sums one after the other, so that the results are those of a pass that
// only folds and one that only attends.
template <typename Form, int kFolded, bool kAttends, int kCount, typename Lanes>
INLINE void PassLanes(const HeadSums& head, const HeadRows& rows, const SomeFeatures& some,
                      FoldResult result, int64_t j, float* out, Lanes lanes) {
  constexpr bool kMeans = Form::kMeans, kFolds = kFolded != kNoRows;
  constexpr int kKnown = kFolded > 0 ? kFolded : 1;
  auto* row = reinterpret_cast<typename Form::Element*>(head.floats) + some.first * head.V + j;
  const float* const features = kFolds ? rows.rows + some.first : nullptr;
  const float* const value = kFolds ? rows.rows + head.F + j : nullptr;
  Vector known[kKnown][kCount];
  if constexpr (kFolded > 0) {
#pragma GCC unroll 4
    for (int n = 0; n < kFolded; ++n) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        known[n][v] = lanes.From(value + n * rows.stride + v * kLanes);
      }
    }
  }
  Vector sums[kCount];
  if constexpr (kAttends) {
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) sums[v] = lanes.From(out + j + v * kLanes);
  }
  Integers lane = {};
  for (int l = 0; l < kLanes; ++l) lane[l] = l * 0x1357;
  for (int64_t i = 0; i < some.count; ++i, row += head.V) {
    PrefetchSums<Form>(row, kCount * kLanes);
    Vector x[kCount];
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) x[v] = Widened(lanes.From(row + v * kLanes));
    if constexpr (kFolds) {
      if constexpr (kMeans) {
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) x[v] -= x[v] * some.gone[i];
      }
      const auto add = [&](int64_t n, int v, Vector one) INLINE_LAMBDA {
        const float feature = features[n * rows.stride + i];
        x[v] += one * (kMeans ? feature * some.share[i] : feature);
      };
      if constexpr (kFolded > 0) {
#pragma GCC unroll 4
        for (int n = 0; n < kFolded; ++n) {
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) add(n, v, known[n][v]);
        }
      } else {
        for (int64_t n = 0; n < rows.count; ++n) {
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) {
            add(n, v, lanes.From(value + n * rows.stride + v * kLanes));
          }
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        if constexpr (kMeans) {
          const Halves rounded = Rounded(x[v], lane + some.chance[i]);
          if (result == FoldResult::kStored) lanes.To(rounded, row + v * kLanes);
          if constexpr (kAttends) x[v] = FromHalves(rounded);
        } else {
          if (result == FoldResult::kStored) lanes.To(x[v], row + v * kLanes);
        }
      }
    }
    if constexpr (kAttends) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) sums[v] += x[v] * some.query[i];
    }
  }
  if constexpr (kAttends) {
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) lanes.To(sums[v], out + j + v * kLanes);
  }
}

// The floats before the sum of f.
template <typename Form>
INLINE int64_t KeysAt(int64_t F, int64_t V) {
  return (F * V * static_cast<int64_t>(sizeof(typename Form::Element)) + 3) / 4;
}
template <typename Form>
int64_t SumFloats(int64_t F, int64_t V) {
  return KeysAt<Form>(F, V) + F;
}

template <typename Form, int kFolded, bool kAttends>
INLINE float Pass(const HeadSums& head, const HeadRows& rows, FoldResult result, const float* query,
                  float* out) {
  // Fewer columns side by side where there are only 16 registers, two rows and a sum for each.
  constexpr int kColumns = kFolded > 0 && !kManyRegisters ? 2 : 4;
  float* const keys = head.floats + KeysAt<Form>(head.F, head.V);
  Vector products = {};
  for (int64_t first = 0; first < head.F; first += kSome) {
    SomeFeatures some;
    some.first = first;
    some.count = Least(kSome, head.F - first);
    Prepare<Form, kFolded, kAttends>(keys, rows, query, &some);
    int64_t j = 0;
    for (; j + kColumns * kLanes <= head.V; j += kColumns * kLanes) {
      PassLanes<Form, kFolded, kAttends, kColumns>(head, rows, some, result, j, out, AllLanes{});
    }
    for (; j + kLanes <= head.V; j += kLanes) {
      PassLanes<Form, kFolded, kAttends, 1>(head, rows, some, result, j, out, AllLanes{});
    }
    if (j < head.V) {
      PassLanes<Form, kFolded, kAttends, 1>(head, rows, some, result, j, out,
                                            FirstLanes{head.V - j});
    }
    if (kFolded != kNoRows && result == FoldResult::kStored) {
      for (int64_t i = 0; i < some.count; ++i) keys[first + i] = some.keys[i];
    }
    if constexpr (!kAttends) continue;
    int64_t i = 0;
    for (; i + kLanes <= some.count; i += kLanes) {
      products += Load(some.keys + i) * Load(query + first + i);
    }
    if (i < some.count) {
      products +=
          LoadPart(some.keys + i, some.count - i) * LoadPart(query + first + i, some.count - i);
    }
  }
  return Sum(products);
}

template <typename Form>
void LinearFold(const HeadSums& head, const HeadRows& rows) {
  Pass<Form, kAnyRows, false>(head, rows, FoldResult::kStored, nullptr, nullptr);
}
template <typename Form>
float LinearAttend(const HeadSums& head, const float* query, float* out) {
  return Pass<Form, kNoRows, true>(head, HeadRows(), FoldResult::kForgotten, query, out);
}
template <typename Form>
float LinearFoldAndAttend(const HeadSums& head, const HeadRows& rows, FoldResult result,
                          const float* query, float* out) {
  return Pass<Form, kFoldRows, true>(head, rows, result, query, out);
}
template <typename Form>
constexpr SumKernels kSumKernels = {&SumFloats<Form>, &LinearFold<Form>, &LinearAttend<Form>,
                                    &LinearFoldAndAttend<Form>};

// Adds a vector of terms to kRows inner products side by side. Each sum has the order that it has
// alone.
template <int kRows, typename Lanes>
INLINE void AddProducts(const float* x, const float* rows, int64_t stride, Lanes lanes,
                        Vector* sums) {
  const Vector one = lanes.From(x);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sums[r] += one * lanes.From(rows + r * stride);
}

// Adds kRows values, times their weights, to `out`, one row after the other.
template <int kRows, typename Lanes>
INLINE void AddWeightedLanes(const float* weights, const float* values, int64_t stride, float* out,
                             Lanes lanes) {
  Vector sum = lanes.From(out);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sum += lanes.From(values + r * stride) * weights[r];
  lanes.To(sum, out);
}

template <int kRows>
INLINE void AddScaled(const float* weights, const float* values, int64_t stride, int64_t V,
                      float* out) {
  int64_t j = 0;
  for (; j + kLanes <= V; j += kLanes) {
    AddWeightedLanes<kRows>(weights, values + j, stride, out + j, AllLanes{});
  }
  if (j < V) AddWeightedLanes<kRows>(weights, values + j, stride, out + j, FirstLanes{V - j});
}

template <int kRows>
INLINE float AttendSomeRows(const float* rows, int64_t stride, int64_t F, int64_t V,
                            const float* query, float* out) {
  Vector sums[kRows] = {};
  int64_t i = 0;
  for (; i + kLanes <= F; i += kLanes) {
    AddProducts<kRows>(query + i, rows + i, stride, AllLanes{}, sums);
  }
  if (i < F) AddProducts<kRows>(query + i, rows + i, stride, FirstLanes{F - i}, sums);
  float weights[kRows];
  for (int r = 0; r < kRows; ++r) weights[r] = Sum(sums[r]);
  AddScaled<kRows>(weights, rows + F, stride, V, out);
  float denominator = 0;
  for (int r = 0; r < kRows; ++r) denominator += weights[r];
  return denominator;
}

float LinearAttendRows(const HeadRows& rows, int64_t F, int64_t V, const float* query, float* out) {
  float denominator = 0;
  int64_t n = 0;
  for (; n + 4 <= rows.count; n += 4) {
    denominator += AttendSomeRows<4>(rows.rows + n * rows.stride, rows.stride, F, V, query, out);
  }
  for (; n < rows.count; ++n) {
    denominator += AttendSomeRows<1>(rows.rows + n * rows.stride, rows.stride, F, V, query, out);
  }
  return denominator;
}

void AddWeighted(const float* weights, const float* values, int64_t count, int64_t V, float* out) {
  int64_t p = 0;
  for (; p + 4 <= count; p += 4) AddScaled<4>(weights + p, values + p * V, V, V, out);
  for (; p < count; ++p) AddScaled<1>(weights + p, values + p * V, V, V, out);
}

}  // namespace

const SimdKernels LEAPSTREAM_SIMD_KERNELS = {LEAPSTREAM_SIMD_NAME,
                                             &Multiply,
                                             &MultiplyBfloat16,
                                             &MultiplyInt8,
                                             &Quantise,
                                             &LayerNorm,
                                             kSumKernels<PlainSums>,
                                             kSumKernels<HalfMeans>,
                                             &LinearAttendRows,
                                             &AddWeighted,
                                             &SumExp,
                                             &LeapAngles};

}  // namespace leapstream
