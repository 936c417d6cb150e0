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

struct StateView {
  StateView(float* state, int64_t d)
      : kv_sin(state), kv_cos(state + d * d), k_sin(state + 2 * d * d), k_cos(k_sin + d) {}
  float* kv_sin;
  float* kv_cos;
  float* k_sin;
  float* k_cos;
};

void Append(float* state, int64_t d, const LeapFeatures& key, const float* value) {
  const StateView s(state, d);
  for (int64_t i = 0; i < d; ++i) {
    const float k_sin = key.features[i] * key.sine;
    const float k_cos = key.features[i] * key.cosine;
    float* __restrict row_sin = s.kv_sin + i * d;
    float* __restrict row_cos = s.kv_cos + i * d;
    for (int64_t j = 0; j < d; ++j) {
      row_sin[j] += k_sin * value[j];
      row_cos[j] += k_cos * value[j];
    }
    s.k_sin[i] += k_sin;
    s.k_cos[i] += k_cos;
  }
}

void Attend(float* state, int64_t d, const LeapStep& step, float* __restrict out) {
  const StateView s(state, d);
  const bool fold = step.past_value != nullptr;
  float denominator = 0;
  for (int64_t j = 0; j < d; ++j) out[j] = 0;
  for (int64_t i = 0; i < d; ++i) {
    const float q_sin = step.query.features[i] * step.query.sine;
    const float q_cos = step.query.features[i] * step.query.cosine;
    float* __restrict row_sin = s.kv_sin + i * d;
    float* __restrict row_cos = s.kv_cos + i * d;
    if (fold) {
      const float k_sin = step.past_key.features[i] * step.past_key.sine;
      const float k_cos = step.past_key.features[i] * step.past_key.cosine;
      const float* value = step.past_value;
      for (int64_t j = 0; j < d; ++j) {
        row_sin[j] += k_sin * value[j];
        row_cos[j] += k_cos * value[j];
        out[j] += q_sin * row_sin[j];
        out[j] += q_cos * row_cos[j];
      }
      s.k_sin[i] += k_sin;
      s.k_cos[i] += k_cos;
    } else {
      for (int64_t j = 0; j < d; ++j) {
        out[j] += q_sin * row_sin[j];
        out[j] += q_cos * row_cos[j];
      }
    }
    denominator += q_sin * s.k_sin[i] + q_cos * s.k_cos[i];
  }
  if (step.own_value != nullptr) {
    float dot = 0;
    for (int64_t i = 0; i < d; ++i) dot += step.query.features[i] * step.own_key.features[i];
    // cos(a - b) = sin a sin b + cos a cos b.
    const float weight =
        dot * (step.query.sine * step.own_key.sine + step.query.cosine * step.own_key.cosine);
    for (int64_t j = 0; j < d; ++j) out[j] += weight * step.own_value[j];
    denominator += weight;
  }
  const float scale =
      1.0f / (denominator > kLeapNormaliserFloor ? denominator : kLeapNormaliserFloor);
  for (int64_t j = 0; j < d; ++j) out[j] *= scale;
}

}  // namespace

const SimdKernels LEAPSTREAM_SIMD_KERNELS = {LEAPSTREAM_SIMD_NAME, &Multiply, &Append, &Attend};

}  // namespace leapstream
