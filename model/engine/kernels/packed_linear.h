#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_

#include <cstdint>
#include <memory>

#include "model/engine/kernels/huge_pages.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/kernels/workspace.h"

namespace leapstream {

// The types of the weights of products. Sums are float32, those of int8 exact 32-bit integers.
enum class ComputeType {
  kFloat32,
  kBfloat16,  // Half the memory to read; products are float32's.
  kInt8,      // A quarter: one scale per output, and inputs quantised row by row as they come.
};

// y = x W^T + b with W packed once for the vector units. Unlike a general matrix product, each row
// of y is to the bit the same whatever other rows are in the batch: one sum over the inputs, in
// order. That is what makes "a batch gives what its members give alone" exact, and why no BLAS is
// used here. Immutable after construction; thread-safe.
class PackedLinear {
 public:
  PackedLinear() = default;
  // weight: [out, in] float32, row-major. bias: [out], or null for none. Neither is kept. `memory`:
  // where it is packed, beside what is read before and after it.
  PackedLinear(const float* weight, const float* bias, int64_t out, int64_t in,
               ComputeType type = ComputeType::kFloat32,
               std::shared_ptr<HugePageArena> memory = std::make_shared<HugePageArena>());

  // x: [rows, in], y: [rows, out], contiguous float32, not overlapping.
  void Apply(const float* x, int64_t rows, float* y, Workspace& scratch,
             Epilogue epilogue = Epilogue::kStore) const {
    ApplyOn(Simd(), x, rows, y, scratch, epilogue);
  }
  // With given kernels. For tests.
  void ApplyOn(const SimdKernels& simd, const float* x, int64_t rows, float* y, Workspace& scratch,
               Epilogue epilogue) const;

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t bytes() const;  // The packed weights' memory.

 private:
  void Pack(const float* weight, int64_t output);

  ComputeType type_ = ComputeType::kFloat32;
  int64_t in_ = 0;
  int64_t out_ = 0;
  std::shared_ptr<const HugePageArena> memory_;  // The memory of all below.
  // One of them, see Product::panels; zero beyond `out` and `in`.
  float* floats_ = nullptr;
  uint16_t* halves_ = nullptr;
  int8_t* bytes_ = nullptr;
  float* bias_ = nullptr;  // [ceil(out / 16) * 16], as are the two below, of int8.
  float* scales_ = nullptr;
  int32_t* offsets_ = nullptr;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_
