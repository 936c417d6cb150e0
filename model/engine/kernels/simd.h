#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_

#include <cstdint>
#include <vector>

namespace leapstream {

inline constexpr int64_t kPanel = 16;  // Outputs per panel of a PackedLinear.

// The last operation on a product's sums, after the bias was added.
enum class Epilogue { kStore, kRelu, kAdd /* to what y holds */ };

// The result of quantise() for a row, beside its numbers.
struct QuantisedRow {
  float scale = 0;
  int32_t too_little = 0;  // Missing from each of the row's sums, as the kernel stores rows.
};

// y = epilogue(x W^T + bias): see PackedLinear.
struct Product {
  const float* x = nullptr;  // [rows, in]
  int64_t rows = 0;
  int64_t in = 0;
  // float or bfloat16: [ceil(out / 16), in, 16]. int8: [ceil(out / 16), ceil(in / 4), 16, 4].
  const void* panels = nullptr;
  int64_t begin = 0, end = 0;   // Of the panels, the ones to do.
  const float* bias = nullptr;  // [ceil(out / 16) * 16]
  int64_t out = 0;
  float* y = nullptr;  // [rows, out]
  Epilogue epilogue = Epilogue::kStore;

  // int8 only, where x is given quantised, each row with a scale: x = scale x_quantised, W =
  // w_scale W_quantised.
  const void* x_quantised = nullptr;  // Of quantise(): [rows, ceil(in / 4) * 4], of two bytes each.
  const QuantisedRow* x_rows = nullptr;  // [rows]
  const float* w_scale = nullptr;        // [ceil(out / 16) * 16]
  const int32_t* w_sum = nullptr;  // 128 times the sum of an output's weights, the same shape.
};

// One step of linear attention, of one head: see SimdKernels::linear_attend.
struct LinearStep {
  const float* query = nullptr;       // [F] features.
  const float* past_key = nullptr;    // [F] features and
  const float* past_value = nullptr;  // [V] value of a position to add first; null: none.
};

// Positions of one head whose keys and values lie as they are: features [F], then value [V], each
// `stride` floats after the one before.
struct HeadRows {
  const float* rows = nullptr;
  int64_t count = 0;
  int64_t stride = 0;
};

// The inner loops, compiled once per kind of processor from simd_kernels.cc. Within one of them
// every sum has one order and the same fused multiply-adds, whatever else is computed beside it.
struct SimdKernels {
  const char* name;
  void (*multiply)(const Product& product);
  void (*multiply_bfloat16)(const Product& product);
  void (*multiply_int8)(const Product& product);
  // Quantises one row for multiply_int8, in a form of its own. out has room for two bytes for each
  // of ceil(in / 4) * 4 inputs. If one is not finite, nor is the scale.
  QuantisedRow (*quantise)(const float* x, int64_t in, void* out);
  // y = (x - mean) / sqrt(variance + epsilon) * weight + bias, of one row. May be in place.
  void (*layer_norm)(const float* x, int64_t width, const float* weight, const float* bias,
                     float* y);
  // Linear attention's state of one head, F V + F floats: sums over positions of f v^T [F, V], then
  // of f [F], f being a key's features. Adds the rows, one after the other.
  void (*linear_fold)(float* state, int64_t F, int64_t V, const HeadRows& rows);
  // out [V] += query^T sum f v^T; returns query^T sum f. First adds the step's past position to the
  // state, in the same pass.
  float (*linear_attend)(float* state, int64_t F, int64_t V, const LinearStep& step, float* out);
  // The same of rows that are in no state.
  float (*linear_attend_rows)(const HeadRows& rows, int64_t F, int64_t V, const float* query,
                              float* out);
  // out [V] += sum over p < count of weights[p] values[p]. values: [count, V].
  void (*add_weighted)(const float* weights, const float* values, int64_t count, int64_t V,
                       float* out);
  // Returns the sum of exp(x - most); if out is not null, writes the terms there. May be in place.
  float (*sum_exp)(const float* x, int64_t count, float most, float* out);
  // x becomes the sine, cosine the cosine of pi/2 sigmoid(x).
  void (*leap_angles)(float* x, int64_t count, float* cosine);
};

// The best for this processor, chosen at the first call.
const SimdKernels& Simd();
// All that this processor can run, the best last. For tests.
std::vector<const SimdKernels*> SupportedSimdKernels();

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_
