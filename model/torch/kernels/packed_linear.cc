#include "model/torch/kernels/packed_linear.h"

#include "model/torch/kernels/simd.h"

namespace leapstream {

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
  Simd().multiply(x, rows, in_, panels_.data(), bias_.data(), out_, y);
}

}  // namespace leapstream
