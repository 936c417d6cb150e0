#include "model/torch/kernels/packed_linear.h"

#include <algorithm>
#include <cstring>

#include "model/torch/kernels/clones.h"

namespace leapstream {
namespace {

constexpr int64_t kPanel = 16;  // Outputs per panel: one AVX-512 register, two of AVX2.
constexpr int64_t kRowTile = 4;

typedef float Vector __attribute__((vector_size(kPanel * sizeof(float)), aligned(4), may_alias));

// Rows x panels sums kept in registers while the inputs go by. The number of rows and panels changes
// only what is computed side by side, never the order within a sum.
template <int kRows, int kPanels>
LEAPSTREAM_INLINE void Tile(const float* x, int64_t in, const float* panels, const float* bias,
                            int64_t out, int64_t first, float* y) {
  Vector sums[kRows][kPanels] = {};
  for (int64_t i = 0; i < in; ++i) {
    for (int p = 0; p < kPanels; ++p) {
      const Vector w = *reinterpret_cast<const Vector*>(panels + (p * in + i) * kPanel);
      for (int r = 0; r < kRows; ++r) sums[r][p] += w * x[r * in + i];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      const int64_t column = first + p * kPanel;
      const Vector sum = sums[r][p] + *reinterpret_cast<const Vector*>(bias + p * kPanel);
      std::memcpy(y + r * out + column, &sum, std::min(kPanel, out - column) * sizeof(float));
    }
  }
}

template <int kRows, int kPanels>
LEAPSTREAM_INLINE void AllPanels(const float* x, int64_t in, const float* panels, const float* bias,
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

LEAPSTREAM_PER_PROCESSOR
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
    case 1: return AllPanels<1, 4>(x, in, panels, bias, out, y);
    case 2: return AllPanels<2, 2>(x, in, panels, bias, out, y);
    case 3: return AllPanels<3, 1>(x, in, panels, bias, out, y);
    default: return;
  }
}

}  // namespace

PackedLinear::PackedLinear(const float* weight, const float* bias, int64_t out, int64_t in)
    : in_(in), out_(out) {
  const int64_t count = (out + kPanel - 1) / kPanel;
  panels_.assign(count * in * kPanel, 0.0f);
  bias_.assign(count * kPanel, 0.0f);
  for (int64_t o = 0; o < out; ++o) {
    float* panel = panels_.data() + o / kPanel * in * kPanel + o % kPanel;
    for (int64_t i = 0; i < in; ++i) panel[i * kPanel] = weight[o * in + i];
    if (bias != nullptr) bias_[o] = bias[o];
  }
}

void PackedLinear::Apply(const float* x, int64_t rows, float* y) const {
  Multiply(x, rows, in_, panels_.data(), bias_.data(), out_, y);
}

}  // namespace leapstream
