#ifndef LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_
#define LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_

#include <cstdint>
#include <vector>

namespace leapstream {

inline constexpr int64_t kPanel = 16;  // Outputs per panel of a PackedLinear.

// One step of linear attention, of one head: see SimdKernels::linear_attend.
struct LinearStep {
  const float* query = nullptr;       // [F] features.
  const float* past_key = nullptr;    // [F] features and
  const float* past_value = nullptr;  // [V] value of a position to add first; null: none.
};

// The inner loops, compiled once per kind of processor from simd_kernels.cc. Within one of them
// every sum has one order and the same fused multiply-adds, whatever else is computed beside it.
struct SimdKernels {
  const char* name;
  // See PackedLinear: panels [ceil(out / 16), in, 16], bias [ceil(out / 16) * 16].
  void (*multiply)(const float* x, int64_t rows, int64_t in, const float* panels, const float* bias,
                   int64_t out, float* y);
  // Linear attention's state of one head, F V + F floats: sums over positions of f v^T [F, V], then
  // of f [F], f being a key's features. Adds a position. key: [F], value: [V].
  void (*linear_append)(float* state, int64_t F, int64_t V, const float* key, const float* value);
  // out [V] += query^T sum f v^T; returns query^T sum f. First adds the step's past position to the
  // state, in the same pass.
  float (*linear_attend)(float* state, int64_t F, int64_t V, const LinearStep& step, float* out);
  // out [V] += sum over p < count of weights[p] values[p]. values: [count, V].
  void (*add_weighted)(const float* weights, const float* values, int64_t count, int64_t V,
                       float* out);
};

// The best for this processor, chosen at the first call.
const SimdKernels& Simd();
// All that this processor can run, the best last. For tests.
std::vector<const SimdKernels*> SupportedSimdKernels();

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_KERNELS_SIMD_H_
