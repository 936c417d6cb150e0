#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include "model/torch/kernels/packed_linear.h"
#include "model/torch/kernels/simd.h"

namespace leapstream {
namespace {

at::Tensor Uniform(std::mt19937& random, std::vector<int64_t> shape) {
  at::Tensor x = at::ones(shape);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = normal(random);
  return x;
}

TEST(PackedLinearTest, EqualsLibTorch) {
  std::mt19937 random(7);
  for (const int64_t in : {1, 63, 64, 257}) {
    for (const int64_t out : {1, 15, 16, 63, 257}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 63}) {
        const at::Tensor w = Uniform(random, {out, in}), b = Uniform(random, {out});
        const at::Tensor x = Uniform(random, {rows, in});
        const PackedLinear linear(w.data_ptr<float>(), b.data_ptr<float>(), out, in);
        at::Tensor y = at::ones({rows, out}) * std::numeric_limits<float>::quiet_NaN();
        linear.Apply(x.data_ptr<float>(), rows, y.data_ptr<float>());
        // in + 1 rounded additions of terms below max|x| max|w| each.
        const double tolerance = (in + 1) * std::numeric_limits<float>::epsilon() * (in + 1) *
                                 (x.abs().max() * w.abs().max()).item<double>();
        ASSERT_LE((y - at::linear(x, w, b)).abs().max().item<double>(), tolerance)
            << "in " << in << " out " << out << " rows " << rows;
      }
    }
  }
}

TEST(PackedLinearTest, ABatchGivesWhatItsMembersGiveAloneToTheBit) {
  std::mt19937 random(11);
  for (const int64_t in : {5, 64, 257}) {
    for (const int64_t out : {1, 63, 160}) {
      const at::Tensor w = Uniform(random, {out, in}), b = Uniform(random, {out});
      const at::Tensor x = Uniform(random, {37, in});
      const PackedLinear linear(w.data_ptr<float>(), b.data_ptr<float>(), out, in);
      std::vector<float> alone(37 * out), batch(37 * out);
      for (int r = 0; r < 37; ++r) {
        linear.Apply(x.data_ptr<float>() + r * in, 1, alone.data() + r * out);
      }
      for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 31, 32, 37}) {
        linear.Apply(x.data_ptr<float>(), rows, batch.data());
        ASSERT_EQ(0, std::memcmp(alone.data(), batch.data(), rows * out * sizeof(float)))
            << "in " << in << " out " << out << " rows " << rows;
      }
    }
  }
}

// Whatever processor the tests run on, all variants that it can run are held to the plain loops.
class SimdTest : public ::testing::TestWithParam<const SimdKernels*> {};

TEST_P(SimdTest, LinearAttentionAndWeightedSumsEqualThePlainLoops) {
  const SimdKernels& simd = *GetParam();
  std::mt19937 random(3);
  for (const int64_t F : {1, 3, 63, 128}) {
    for (const int64_t V : {1, 5, 16, 65}) {
      at::Tensor state = Uniform(random, {F * V + F});
      const at::Tensor before = state.clone();
      const at::Tensor q = Uniform(random, {F}), k = Uniform(random, {F}), v = Uniform(random, {V});
      const at::Tensor kv = before.slice(0, 0, F * V).view({F, V}) + at::outer(k, v);
      const at::Tensor sums = before.slice(0, F * V) + k;
      at::Tensor out = Uniform(random, {V});
      const at::Tensor want = out + at::matmul(q, kv);
      LinearStep step;
      step.query = q.data_ptr<float>();
      step.past_key = k.data_ptr<float>();
      step.past_value = v.data_ptr<float>();
      const float denominator =
          simd.linear_attend(state.data_ptr<float>(), F, V, step, out.data_ptr<float>());
      // F terms of magnitude up to about 10.
      const double tolerance = 10.0 * F * std::numeric_limits<float>::epsilon() * 10;
      EXPECT_LE((out - want).abs().max().item<double>(), tolerance) << simd.name;
      EXPECT_NEAR(denominator, at::dot(q, sums).item<float>(), tolerance) << simd.name;
      at::Tensor appended = before.clone();
      simd.linear_append(appended.data_ptr<float>(), F, V, step.past_key, step.past_value);
      EXPECT_TRUE(at::equal(appended, state)) << simd.name << ": folding is appending";

      const at::Tensor weights = Uniform(random, {F}), values = Uniform(random, {F, V});
      out = at::zeros({V});
      simd.add_weighted(weights.data_ptr<float>(), values.data_ptr<float>(), F, V,
                        out.data_ptr<float>());
      EXPECT_LE((out - at::matmul(weights, values)).abs().max().item<double>(), tolerance);
    }
  }
}

TEST_P(SimdTest, ProductsAreTheSameForAnyNumberOfRows) {
  const SimdKernels& simd = *GetParam();
  std::mt19937 random(5);
  const int64_t in = 65, out = 33;
  const at::Tensor panels = Uniform(random, {(out + kPanel - 1) / kPanel, in, kPanel});
  const at::Tensor bias = at::zeros({48}), x = Uniform(random, {9, in});
  std::vector<float> alone(9 * out), batch(9 * out);
  for (int r = 0; r < 9; ++r) {
    simd.multiply(x.data_ptr<float>() + r * in, 1, in, panels.data_ptr<float>(),
                  bias.data_ptr<float>(), out, alone.data() + r * out);
  }
  simd.multiply(x.data_ptr<float>(), 9, in, panels.data_ptr<float>(), bias.data_ptr<float>(), out,
                batch.data());
  EXPECT_EQ(0, std::memcmp(alone.data(), batch.data(), batch.size() * sizeof(float))) << simd.name;
}
INSTANTIATE_TEST_SUITE_P(Processors, SimdTest, ::testing::ValuesIn(SupportedSimdKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace leapstream
