#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "model/engine/kernels/packed_memory.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/kernels/workspace.h"

namespace leapstream {

// The types of the weights of products. Sums are float32; those of int8 are exact 32-bit integers.
enum class ComputeType {
  kFloat32,
  kBfloat16,  // Half the memory to read. Weights are widened to float32 before they multiply.
  kInt8,  // A quarter of the memory to read. Weights have one scale per output, inputs one per row.
};

// The product y = x W^T + b, with W packed once for the vector units. Each row of y is, to the bit,
// the same whatever other rows are in the batch: it is one sum over the inputs, in order. A general
// matrix product (BLAS) does not promise that, and leapstream needs it: a batch gives exactly what
// its members give alone. Immutable after construction; thread-safe.
class PackedLinear {
 public:
  PackedLinear() = default;
  // Gives the weights [in] of an output; the memory may change at the next call.
  using RowSource = absl::FunctionRef<const float*(int64_t output)>;
  // bias: [out], or null for none; it is not kept. `memory` gets the packed weights, beside those
  // that are read before and after them. If it is filled, it has them, and nothing is asked for.
  PackedLinear(RowSource weight, const float* bias, int64_t out, int64_t in, ComputeType type,
               std::shared_ptr<PackedMemory> memory);
  // weight: [out, in] float32, row-major; it is not kept.
  PackedLinear(const float* weight, const float* bias, int64_t out, int64_t in,
               ComputeType type = ComputeType::kFloat32,
               std::shared_ptr<PackedMemory> memory = std::make_shared<PackedMemory>())
      : PackedLinear([weight, in](int64_t output) { return weight + output * in; }, bias, out, in,
                     type, std::move(memory)) {}

  // x: [rows, in], y: [rows, out], contiguous float32, not overlapping.
  void Apply(const float* x, int64_t rows, float* y, Workspace& scratch,
             Epilogue epilogue = Epilogue::kStore) const {
    ApplyOn(Simd(), x, rows, y, scratch, epilogue);
  }
  // Apply() with given kernels. For tests.
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
  std::shared_ptr<const PackedMemory> memory_;  // The memory of all pointers below.
  // The packed weights: see Product::panels. One of the three is set, by type_. Beyond `out` and
  // `in` they are zero.
  float* floats_ = nullptr;
  uint16_t* halves_ = nullptr;
  int8_t* bytes_ = nullptr;
  float* bias_ = nullptr;       // [ceil(out / 16) * 16]
  float* scales_ = nullptr;     // int8 only: Product::w_scale.
  int32_t* offsets_ = nullptr;  // int8 only: Product::w_sum.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_LINEAR_H_
