#include "model/engine/kernels/packed_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "model/engine/parallel.h"

namespace leapstream {
namespace {

constexpr int64_t kLeastMultiplications = 1 << 17;

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

uint16_t ToBfloat16(float x) {  // Rounds to nearest, ties to even.
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

PackedLinear::PackedLinear(RowSource weight, const float* bias, int64_t out, int64_t in,
                           ComputeType type, std::shared_ptr<PackedMemory> memory)
    : type_(type), in_(in), out_(out) {
  const int64_t outputs = RoundUp(out, kPanel);
  switch (type) {
    case ComputeType::kFloat32:
      floats_ = memory->Take<float>(outputs * in);
      break;
    case ComputeType::kBfloat16:
      halves_ = memory->Take<uint16_t>(outputs * in);
      break;
    case ComputeType::kInt8:
      bytes_ = memory->Take<int8_t>(outputs * RoundUp(in, 4));
      scales_ = memory->Take<float>(outputs);
      offsets_ = memory->Take<int32_t>(outputs);
  }
  bias_ = memory->Take<float>(outputs);
  const bool filled = memory->filled();
  memory_ = std::move(memory);
  if (filled) return;
  if (bias != nullptr) std::copy_n(bias, out, bias_);
  for (int64_t o = 0; o < out; ++o) Pack(weight(o), o);
}

void PackedLinear::Pack(const float* weight, int64_t output) {
  const int64_t panel = output / kPanel;
  const int64_t lane = output % kPanel;
  if (type_ != ComputeType::kInt8) {
    for (int64_t i = 0; i < in_; ++i) {
      const int64_t at = (panel * in_ + i) * kPanel + lane;
      if (type_ == ComputeType::kFloat32) {
        floats_[at] = weight[i];
      } else {
        halves_[at] = ToBfloat16(weight[i]);
      }
    }
    return;
  }
  float most = 0;
  for (int64_t i = 0; i < in_; ++i) most = std::max(most, std::abs(weight[i]));
  const float inverse = most > 0 ? 127 / most : 0;
  scales_[output] = most / 127;
  int8_t* groups = bytes_ + panel * RoundUp(in_, 4) * kPanel;
  for (int64_t i = 0; i < in_; ++i) {
    const auto quantised = static_cast<int8_t>(std::lround(weight[i] * inverse));
    groups[(i / 4 * kPanel + lane) * 4 + i % 4] = quantised;
    offsets_[output] += 128 * quantised;
  }
}

void PackedLinear::ApplyOn(const SimdKernels& simd, const float* x, int64_t rows, float* y,
                           Workspace& scratch, Epilogue epilogue) const {
  Product product;
  product.x = x;
  product.rows = rows;
  product.in = in_;
  product.bias = bias_;
  product.out = out_;
  product.y = y;
  product.epilogue = epilogue;
  const Workspace::Scope scope(scratch);
  if (type_ == ComputeType::kInt8) {
    const int64_t in = RoundUp(in_, 4);
    auto* quantised = reinterpret_cast<char*>(scratch.Floats(rows * in / 2));
    static_assert(sizeof(QuantisedRow) == 2 * sizeof(float));
    auto* quantised_rows = reinterpret_cast<QuantisedRow*>(scratch.Floats(2 * rows));
    for (int64_t r = 0; r < rows; ++r) {
      quantised_rows[r] = simd.quantise(x + r * in_, in_, quantised + r * in * 2);
    }
    product.x_quantised = quantised;
    product.x_rows = quantised_rows;
    product.w_scale = scales_;
    product.w_sum = offsets_;
  }
  // A part must be worth waking a thread: it takes some microseconds at least.
  const int64_t panel_cost = std::max<int64_t>(rows * in_ * kPanel, 1);
  const int64_t grain = (kLeastMultiplications + panel_cost - 1) / panel_cost;
  ParallelFor(RoundUp(out_, kPanel) / kPanel, grain, [&](int64_t begin, int64_t end) {
    Product part = product;
    part.begin = begin;
    part.end = end;
    switch (type_) {
      case ComputeType::kFloat32:
        part.panels = floats_;
        return simd.multiply(part);
      case ComputeType::kBfloat16:
        part.panels = halves_;
        return simd.multiply_bfloat16(part);
      case ComputeType::kInt8:
        part.panels = bytes_;
        return simd.multiply_int8(part);
    }
  });
}

int64_t PackedLinear::bytes() const {
  const int64_t outputs = RoundUp(out_, kPanel);
  switch (type_) {
    case ComputeType::kFloat32:
      return outputs * in_ * static_cast<int64_t>(sizeof(float));
    case ComputeType::kBfloat16:
      return outputs * in_ * static_cast<int64_t>(sizeof(uint16_t));
    case ComputeType::kInt8:
      break;
  }
  return outputs * RoundUp(in_, 4);
}

}  // namespace leapstream
