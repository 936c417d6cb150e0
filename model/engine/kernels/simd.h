#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_

#include <cstdint>
#include <vector>

namespace leapstream {

inline constexpr int64_t kPanel = 16;  // The number of outputs in a panel of a PackedLinear.

// The last operation on a product's sums, after the bias was added.
enum class Epilogue { kStore, kRelu, kAdd /* adds to the values in y */ };

// The result of quantise() for a row, beside the row's numbers.
struct QuantisedRow {
  float scale = 0;
  int32_t too_little = 0;  // To be added to each of the row's integer sums: see simd_kernels.cc.
};

// The product y = epilogue(x W^T + bias): see PackedLinear.
struct Product {
  const float* x = nullptr;  // [rows, in]
  int64_t rows = 0;
  int64_t in = 0;
  // The packed weights. float or bfloat16: [ceil(out / 16), in, 16]. int8:
  // [ceil(out / 16), ceil(in / 4), 16, 4].
  const void* panels = nullptr;
  int64_t begin = 0, end = 0;   // The panels to compute.
  const float* bias = nullptr;  // [ceil(out / 16) * 16]
  int64_t out = 0;
  float* y = nullptr;  // [rows, out]
  Epilogue epilogue = Epilogue::kStore;

  // For int8 only: x = scale x_quantised with a scale for each row, W = w_scale W_quantised with a
  // scale for each output.
  const void* x_quantised = nullptr;     // quantise()'s: [rows, ceil(in / 4) * 4], two bytes each.
  const QuantisedRow* x_rows = nullptr;  // [rows]
  const float* w_scale = nullptr;        // [ceil(out / 16) * 16]
  const int32_t* w_sum =
      nullptr;  // 128 times the sum of each output's weights, of w_scale's shape.
};

// Positions of one head that lie as rows: features [F], then value [V]. A row begins `stride`
// floats after the row before it.
struct HeadRows {
  const float* rows = nullptr;
  int64_t count = 0;
  int64_t stride = 0;
};

// The sums of one head of linear attention over its past, F (V + 1) numbers: of f v^T [F, V] and of
// f [F]; f: a key's features, v: its value. `floats` is their memory, in one of two forms.
struct HeadSums {
  float* floats = nullptr;
  int64_t F = 0;
  int64_t V = 0;
};

// The number of rows that are folded into the sums while a query attends.
inline constexpr int kFoldRows = 2;
// Whether a query that folds rows into the sums leaves them there.
enum class FoldResult { kStored, kForgotten };

// The operations on a head's sums in one form. Zeros are the sums over nothing. Rows are added one
// after the other, so that sums have the same bits however a call folds, and a query sees the same.
struct SumKernels {
  int64_t (*floats)(int64_t F, int64_t V);  // The size of the memory.
  // Adds rows, all at once.
  void (*fold)(const HeadSums& sums, const HeadRows& rows);
  // out [V] += query^T sum f v^T; returns query^T sum f.
  float (*attend)(const HeadSums& sums, const float* query, float* out);
  // fold() and then attend(), in one pass. rows.count must be kFoldRows. kForgotten: the sums stay
  // as they were.
  float (*fold_and_attend)(const HeadSums& sums, const HeadRows& rows, FoldResult result,
                           const float* query, float* out);
};

// The inner loops, compiled from simd_kernels.cc once for each kind of processor. With the kernels
// of one kind, every sum has one order and the same fused multiply-adds, whatever is computed
// beside it.
struct SimdKernels {
  const char* name;
  void (*multiply)(const Product& product);
  void (*multiply_bfloat16)(const Product& product);
  void (*multiply_int8)(const Product& product);
  // Quantises one row for multiply_int8, in a form that only these two functions know. out has room
  // for two bytes for each of ceil(in / 4) * 4 inputs. If an input is not finite, the scale is not
  // finite.
  QuantisedRow (*quantise)(const float* x, int64_t in, void* out);
  // y = (x - mean) / sqrt(variance + epsilon) * weight + bias, for one row. y may be x.
  void (*layer_norm)(const float* x, int64_t width, const float* weight, const float* bias,
                     float* y);
  // Sums in float32.
  SumKernels float_sums;
  // Sums in half the memory. Instead of sum f v^T there are the means of v, weighted by f, in
  // float16; sum f stays float32. Means have the range of values, however long the past is. Every
  // call to fold() rounds them once, so that a position's rounding depends on the rows that are
  // folded with it. Features must not be negative.
  SumKernels half_sums;
  // out [V] += query^T sum f v^T over rows that are in no sums; returns query^T sum f.
  float (*linear_attend_rows)(const HeadRows& rows, int64_t F, int64_t V, const float* query,
                              float* out);
  // out [V] += sum over p < count of weights[p] values[p]. values: [count, V].
  void (*add_weighted)(const float* weights, const float* values, int64_t count, int64_t V,
                       float* out);
  // Returns the sum of exp(x - most). If out is not null, writes the terms there; out may be x.
  float (*sum_exp)(const float* x, int64_t count, float most, float* out);
  // Sets x to the sine and `cosine` to the cosine of pi/2 sigmoid(x).
  void (*leap_angles)(float* x, int64_t count, float* cosine);
};

// The best kernels for this processor, chosen at the first call.
const SimdKernels& Simd();
// All kernels that this processor can run, the best last. For tests.
std::vector<const SimdKernels*> SupportedSimdKernels();
// The last of `kernels` whose int8 products are, to the bit, those of plain loops over a small case
// (0.2 ms), or the first if none are. Not every kind of processor was there to test its kernels on.
const SimdKernels& LastThatPasses(const std::vector<const SimdKernels*>& kernels);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_SIMD_H_
