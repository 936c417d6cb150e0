#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include "model/torch/attention/leap_attention.h"
#include "model/torch/kernels/leap_kernel.h"
#include "model/torch/kernels/packed_linear.h"

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

class LeapKernelTest : public ::testing::TestWithParam<std::pair<int, int>> {};

// The recurrence, with its newest position held apart, equals the quadratic form everywhere;
// deciding a position twice leaves no trace of the first time.
TEST_P(LeapKernelTest, StepEqualsNaive) {
  const auto [T, d] = GetParam();
  std::mt19937 random(T * 1000 + d);
  const at::Tensor q = Uniform(random, {1, T, d}), k = Uniform(random, {1, T, d});
  const at::Tensor v = Uniform(random, {1, T, d});
  const at::Tensor p_q = Uniform(random, {1, T}).sigmoid(), p_k = Uniform(random, {1, T}).sigmoid();
  const at::Tensor mask = at::ones({T, T}).tril().to(at::kBool);
  const at::Tensor expected = LeapAttentionNaive(q, k, v, p_q, p_k, mask);
  const at::Tensor fq = q.relu(), fk = k.relu();
  const auto features = [d = d](const at::Tensor& x, const at::Tensor& p, int t) {
    const float angle = static_cast<float>(M_PI / 2) * p.data_ptr<float>()[t];
    return LeapFeatures{x.data_ptr<float>() + t * d, std::sin(angle), std::cos(angle)};
  };
  std::vector<float> state(LeapStateFloats(d), 0.0f), appended(LeapStateFloats(d), 0.0f);
  std::vector<float> out(d), other(d);
  // Sums of up to T * d rounded terms in another order; weights are normalised by at least 0.1.
  const double tolerance =
      16.0 * T * std::numeric_limits<float>::epsilon() * d * v.abs().max().item<double>();
  for (int t = 0; t < T; ++t) {
    LeapStep step;
    step.query = features(fq, p_q, t);
    step.own_key = features(fk, p_k, t);
    step.own_value = v.data_ptr<float>() + t * d;
    if (t > 0) {
      step.past_key = features(fk, p_k, t - 1);
      step.past_value = v.data_ptr<float>() + (t - 1) * d;
    }
    LeapAttend(state.data(), d, step, out.data());
    step.past_value = nullptr;  // Again: the past is in the sums already.
    LeapAttend(state.data(), d, step, other.data());
    ASSERT_EQ(0, std::memcmp(out.data(), other.data(), d * sizeof(float))) << "t " << t;
    LeapAppend(appended.data(), d, step.own_key, step.own_value);
    LeapStep cross;
    cross.query = step.query;
    LeapAttend(appended.data(), d, cross, other.data());
    for (int j = 0; j < d; ++j) {
      const float want = expected.data_ptr<float>()[t * d + j];
      ASSERT_NEAR(out[j], want, tolerance) << "t " << t << " j " << j;
      ASSERT_NEAR(other[j], want, tolerance) << "t " << t << " j " << j;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, LeapKernelTest,
                         ::testing::Values(std::pair(1, 1), std::pair(1, 8), std::pair(63, 16),
                                           std::pair(63, 5), std::pair(257, 64)));

}  // namespace
}  // namespace leapstream
