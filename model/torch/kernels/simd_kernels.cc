// Compiled several times, each time for another processor, as LEAPSTREAM_SIMD_KERNELS. So nothing
// here may be shared between the copies: no function of the standard library, which the linker
// would merge.
#include "model/torch/kernels/simd.h"

#define INLINE static inline __attribute__((always_inline))

namespace leapstream {

extern const SimdKernels LEAPSTREAM_SIMD_KERNELS;

namespace {

constexpr int64_t kRowTile =
    4;  // Measured: six, with all of AVX2's registers, spill and halve the speed.
// Eight floats: compilers split a vector that is wider than the processor's through memory.
constexpr int64_t kLanes = 8;
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
constexpr int kVectors = kPanel / kLanes;

INLINE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows x panels sums kept in registers while the inputs go by. The number of rows and panels
// changes only what is computed side by side, never the order within a sum.
template <int kRows, int kPanels>
INLINE void Tile(const float* x, int64_t in, const float* panels, const float* bias, int64_t out,
                 int64_t first, float* y) {
  Vector sums[kRows][kPanels * kVectors] = {};
  for (int64_t i = 0; i < in; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < kPanels * kVectors; ++v) {
      const float* panel = panels + (v / kVectors * in + i) * kPanel;
      const Vector w = *reinterpret_cast<const Vector*>(panel + v % kVectors * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] += w * x[r * in + i];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kPanels * kVectors; ++v) {
      const int64_t column = first + v * kLanes;
      if (column >= out) break;
      const Vector sum = sums[r][v] + *reinterpret_cast<const Vector*>(bias + v * kLanes);
      __builtin_memcpy(y + r * out + column, &sum, Least(kLanes, out - column) * sizeof(float));
    }
  }
}

template <int kRows, int kPanels>
INLINE void AllPanels(const float* x, int64_t in, const float* panels, const float* bias,
                      int64_t out, float* y) {
  const int64_t count = (out + kPanel - 1) / kPanel;
  int64_t p = 0;
  for (; p + kPanels <= count; p += kPanels) {
    Tile<kRows, kPanels>(x, in, panels + p * in * kPanel, bias + p * kPanel, out, p * kPanel, y);
  }
  for (; p < count; ++p) {
    Tile<kRows, 1>(x, in, panels + p * in * kPanel, bias + p * kPanel, out, p * kPanel, y);
  }
}

void Multiply(const float* x, int64_t rows, int64_t in, const float* panels, const float* bias,
              int64_t out, float* y) {
  if (rows >= kRowTile) {
    // A panel stays in the first cache while all rows pass it.
    const int64_t count = (out + kPanel - 1) / kPanel;
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t r = 0; r + kRowTile <= rows; r += kRowTile) {
        Tile<kRowTile, 1>(x + r * in, in, panels + p * in * kPanel, bias + p * kPanel, out,
                          p * kPanel, y + r * out);
      }
    }
  }
  const int64_t done = rows / kRowTile * kRowTile;
  x += done * in;
  y += done * out;
  switch (rows - done) {
    case 1:
      return AllPanels<1, 4>(x, in, panels, bias, out, y);
    case 2:
      return AllPanels<2, 2>(x, in, panels, bias, out, y);
    case 3:
      return AllPanels<3, 1>(x, in, panels, bias, out, y);
    default:
      return;
  }
}

void LinearAppend(float* state, int64_t F, int64_t V, const float* key,
                  const float* __restrict value) {
  float* sums = state + F * V;
  for (int64_t i = 0; i < F; ++i) {
    float* __restrict row = state + i * V;
    for (int64_t j = 0; j < V; ++j) row[j] += key[i] * value[j];
    sums[i] += key[i];
  }
}

// A struct's type, because a template argument would lose the attributes of its own.
struct Wide {
  typedef Vector T;
};
struct Single {
  typedef float T;
};

// One lane or several of out += sum over rows of query[r] * row[r], each row first increased by
// past_key[r] * past_value. Explicit vectors: the compiler cannot tell that rows do not overlap.
template <typename Lanes, int kRows, bool kFold>
INLINE void AttendLanes(float* rows, int64_t V, const LinearStep& step, int64_t i, int64_t j,
                        float* out) {
  typedef typename Lanes::T T;
  T sum = *reinterpret_cast<const T*>(out + j);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    T row = *reinterpret_cast<const T*>(rows + r * V + j);
    if (kFold) {
      row += *reinterpret_cast<const T*>(step.past_value + j) * step.past_key[i + r];
      *reinterpret_cast<T*>(rows + r * V + j) = row;
    }
    sum += row * step.query[i + r];
  }
  *reinterpret_cast<T*>(out + j) = sum;
}

// Some rows at a time, so that `out` is loaded and stored less often; the order within its sums
// stays that of the rows.
template <int kRows, bool kFold>
INLINE float AttendRows(float* state, int64_t F, int64_t V, const LinearStep& step, int64_t i,
                        float* out) {
  float* rows = state + i * V;
  int64_t j = 0;
  for (; j + kLanes <= V; j += kLanes) {
    AttendLanes<Wide, kRows, kFold>(rows, V, step, i, j, out);
  }
  for (; j < V; ++j) AttendLanes<Single, kRows, kFold>(rows, V, step, i, j, out);
  float denominator = 0;
  float* sums = state + F * V + i;
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    if (kFold) sums[r] += step.past_key[i + r];
    denominator += step.query[i + r] * sums[r];
  }
  return denominator;
}

template <bool kFold>
INLINE float AttendAll(float* state, int64_t F, int64_t V, const LinearStep& step, float* out) {
  constexpr int kRows = 4;
  float denominator = 0;
  int64_t i = 0;
  for (; i + kRows <= F; i += kRows) {
    denominator += AttendRows<kRows, kFold>(state, F, V, step, i, out);
  }
  for (; i < F; ++i) denominator += AttendRows<1, kFold>(state, F, V, step, i, out);
  return denominator;
}

float LinearAttend(float* state, int64_t F, int64_t V, const LinearStep& step, float* out) {
  return step.past_value != nullptr ? AttendAll<true>(state, F, V, step, out)
                                    : AttendAll<false>(state, F, V, step, out);
}

void AddWeighted(const float* weights, const float* values, int64_t count, int64_t V,
                 float* __restrict out) {
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t j = 0; j < V; ++j) out[j] += weights[p] * values[p * V + j];
  }
}

}  // namespace

const SimdKernels LEAPSTREAM_SIMD_KERNELS = {LEAPSTREAM_SIMD_NAME, &Multiply, &LinearAppend,
                                             &LinearAttend, &AddWeighted};

}  // namespace leapstream
