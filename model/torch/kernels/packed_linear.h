#ifndef LEAPSTREAM_MODEL_TORCH_KERNELS_PACKED_LINEAR_H_
#define LEAPSTREAM_MODEL_TORCH_KERNELS_PACKED_LINEAR_H_

#include <cstdint>
#include <vector>

namespace leapstream {

// y = x W^T + b with W packed once for the vector units. Unlike a general matrix product, each row
// of y is to the bit the same whatever other rows are in the batch: one sum over the inputs, in
// order. That is what makes "a batch gives what its members give alone" exact, and why no BLAS is
// used here. Immutable after construction; thread-safe.
class PackedLinear {
 public:
  PackedLinear() = default;
  // weight: [out, in] float32, row-major. bias: [out], or null for none. Neither is kept.
  PackedLinear(const float* weight, const float* bias, int64_t out, int64_t in);

  // x: [rows, in], y: [rows, out], contiguous float32, not overlapping.
  void Apply(const float* x, int64_t rows, float* y) const;

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }

 private:
  int64_t in_ = 0;
  int64_t out_ = 0;
  std::vector<float> panels_;  // [ceil(out / 16), in, 16], zero beyond `out`.
  std::vector<float> bias_;    // [ceil(out / 16) * 16].
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_KERNELS_PACKED_LINEAR_H_
