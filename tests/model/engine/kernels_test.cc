#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parallel.h"

namespace leapstream {
namespace {

at::Tensor Uniform(std::mt19937& random, std::vector<int64_t> shape) {
  at::Tensor x = at::ones(shape);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = normal(random);
  return x;
}

TEST(HugePageArenaTest, GivesZerosThatDoNotOverlap) {
  HugePageArena arena;
  std::vector<std::pair<char*, size_t>> taken;
  for (const size_t bytes : {1, 64, 100, 3 << 20, 12 << 20, 5 << 20, 40 << 20, 1}) {
    char* const memory = arena.Take<char>(bytes);
    EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(memory) % 64);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](char c) { return c == 0; })) << bytes;
    std::fill_n(memory, bytes, static_cast<char>(taken.size() + 1));
    taken.push_back({memory, bytes});
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    const auto [memory, bytes] = taken[i];
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [&](char c) { return c == char(i + 1); })) << i;
  }
}

// Compares all variants of the kernels that the processor can run with plain loops.
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
      const at::Tensor position = at::cat({k, v});
      simd.linear_fold(appended.data_ptr<float>(), F, V, {position.data_ptr<float>(), 1, F + V});
      EXPECT_TRUE(at::equal(appended, state)) << simd.name << ": folding is appending";

      const at::Tensor weights = Uniform(random, {F}), values = Uniform(random, {F, V});
      out = at::zeros({V});
      simd.add_weighted(weights.data_ptr<float>(), values.data_ptr<float>(), F, V,
                        out.data_ptr<float>());
      EXPECT_LE((out - at::matmul(weights, values)).abs().max().item<double>(), tolerance);
    }
  }
}

constexpr ComputeType kTypes[] = {ComputeType::kFloat32, ComputeType::kBfloat16,
                                  ComputeType::kInt8};

// The most that a product of this type may differ from the exact one, per input and unit of
// max|x| max|w|.
double ErrorPerInput(ComputeType type, int64_t in) {
  // float32 has in + 1 roundings; bfloat16 errors of half an ulp of 8 bits in each weight; int8
  // errors of half a step of 127 in each weight and input.
  switch (type) {
    case ComputeType::kFloat32:
      return static_cast<double>(in + 1) * std::numeric_limits<float>::epsilon();
    case ComputeType::kBfloat16:
      return 1.0 / 256;
    case ComputeType::kInt8:
      return 1.0 / 127;
  }
  return 0;
}

TEST(PackedLinearTest, SeveralThreadsGiveToTheBitWhatOneGives) {
  std::mt19937 random(11);
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    const int64_t in = 512, out = 2045, rows = 7;  // Large enough for several threads.
    const at::Tensor w = Uniform(random, {out, in}), x = Uniform(random, {rows, in});
    const PackedLinear linear(w.data_ptr<float>(), nullptr, out, in, type);
    at::Tensor one = at::zeros({rows, out}), three = at::zeros({rows, out});
    linear.Apply(x.data_ptr<float>(), rows, one.data_ptr<float>(), scratch);
    {
      const ThreadsScope threads(3);
      linear.Apply(x.data_ptr<float>(), rows, three.data_ptr<float>(), scratch);
    }
    EXPECT_TRUE(at::equal(one, three)) << "type " << static_cast<int>(type);
  }
}

TEST_P(SimdTest, ProductsOfAnyTypeEqualLibTorchs) {
  std::mt19937 random(7);
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    for (const int64_t in : {1, 63, 64, 257}) {
      for (const int64_t out : {1, 15, 16, 63, 257}) {
        for (const int64_t rows : {1, 2, 3, 4, 5, 15, 63}) {
          const at::Tensor w = Uniform(random, {out, in}), b = Uniform(random, {out});
          const at::Tensor x = Uniform(random, {rows, in}), before = Uniform(random, {rows, out});
          const PackedLinear linear(w.data_ptr<float>(), b.data_ptr<float>(), out, in, type);
          const at::Tensor exact = at::linear(x, w, b);
          const double tolerance = ErrorPerInput(type, in) * static_cast<double>(in + 1) *
                                   (x.abs().max() * w.abs().max()).item<double>();
          for (const auto& [epilogue, expected] : {std::pair(Epilogue::kStore, exact),
                                                   {Epilogue::kRelu, exact.relu()},
                                                   {Epilogue::kAdd, before + exact}}) {
            at::Tensor y = epilogue == Epilogue::kAdd
                               ? before.clone()
                               : at::full_like(before, std::numeric_limits<float>::quiet_NaN());
            linear.ApplyOn(*GetParam(), x.data_ptr<float>(), rows, y.data_ptr<float>(), scratch,
                           epilogue);
            ASSERT_LE((y - expected).abs().max().item<double>(), tolerance)
                << GetParam()->name << " type " << static_cast<int>(type) << " in " << in << " out "
                << out << " rows " << rows << " epilogue " << static_cast<int>(epilogue);
          }
        }
      }
    }
  }
}

// An input that is not finite must show at the end of a step, and must change its own row only.
TEST_P(SimdTest, AProductOfWhatIsNotFiniteIsNotFinite) {
  std::mt19937 random(10);
  Workspace scratch;
  const int64_t in = 70, out = 20, rows = 3;
  const at::Tensor w = Uniform(random, {out, in}), good = Uniform(random, {rows, in});
  for (const ComputeType type : kTypes) {
    const PackedLinear linear(w.data_ptr<float>(), nullptr, out, in, type);
    at::Tensor expected = at::empty({rows, out});
    linear.ApplyOn(*GetParam(), good.data_ptr<float>(), rows, expected.data_ptr<float>(), scratch,
                   Epilogue::kRelu);
    for (const int64_t place : {0, 37, 69}) {
      at::Tensor x = good.clone(), y = at::empty({rows, out});
      x.data_ptr<float>()[in + place] = std::numeric_limits<float>::quiet_NaN();
      linear.ApplyOn(*GetParam(), x.data_ptr<float>(), rows, y.data_ptr<float>(), scratch,
                     Epilogue::kRelu);
      EXPECT_TRUE(y[1].isnan().all().item<bool>()) << static_cast<int>(type) << " " << place;
      EXPECT_TRUE(y[0].equal(expected[0]) && y[2].equal(expected[2])) << static_cast<int>(type);
      x.data_ptr<float>()[in + place] = std::numeric_limits<float>::infinity();
      linear.ApplyOn(*GetParam(), x.data_ptr<float>(), rows, y.data_ptr<float>(), scratch,
                     Epilogue::kStore);
      EXPECT_FALSE(y[1].isfinite().any().item<bool>()) << static_cast<int>(type) << " " << place;
    }
  }
}

// int8 products are integers until the very end: every processor gives the same results, also for
// the greatest weights and inputs, whose products in pairs would not fit into 16 bits.
TEST_P(SimdTest, Int8ProductsAreExact) {
  std::mt19937 random(9);
  Workspace scratch;
  const int64_t out = 48, rows = 6;
  for (const int64_t in : {512, 36, 7}) {
    const at::Tensor w = Uniform(random, {out, in}), x = Uniform(random, {rows, in});
    const at::Tensor signs = at::sign(Uniform(random, {in}));
    x[1].fill_(-1);
    x[2].copy_(signs);
    x[3].slice(0, 0, 3).fill_(40);
    w[1].fill_(1);
    w[2].copy_(signs);
    w[47].fill_(-1);
    const PackedLinear linear(w.data_ptr<float>(), nullptr, out, in, ComputeType::kInt8);
    std::vector<float> here(rows * out), baseline(rows * out);
    linear.ApplyOn(*GetParam(), x.data_ptr<float>(), rows, here.data(), scratch, Epilogue::kStore);
    linear.ApplyOn(*SupportedSimdKernels()[0], x.data_ptr<float>(), rows, baseline.data(), scratch,
                   Epilogue::kStore);
    EXPECT_EQ(0, std::memcmp(here.data(), baseline.data(), here.size() * sizeof(float))) << in;
    EXPECT_NEAR(here[1 * out + 1], -in, 1e-5 * in);
    EXPECT_NEAR(here[2 * out + 2], in, 1e-5 * in);
  }
}

TEST_P(SimdTest, ABatchGivesWhatItsMembersGiveAloneToTheBit) {
  std::mt19937 random(11);
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    for (const int64_t in : {5, 64, 257}) {
      for (const int64_t out : {1, 63, 160}) {
        const at::Tensor w = Uniform(random, {out, in}), b = Uniform(random, {out});
        const at::Tensor x = Uniform(random, {37, in});
        const PackedLinear linear(w.data_ptr<float>(), b.data_ptr<float>(), out, in, type);
        std::vector<float> alone(37 * out), batch(37 * out);
        for (int r = 0; r < 37; ++r) {
          linear.ApplyOn(*GetParam(), x.data_ptr<float>() + r * in, 1, alone.data() + r * out,
                         scratch, Epilogue::kStore);
        }
        for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 31, 32, 37}) {
          linear.ApplyOn(*GetParam(), x.data_ptr<float>(), rows, batch.data(), scratch,
                         Epilogue::kStore);
          ASSERT_EQ(0, std::memcmp(alone.data(), batch.data(), rows * out * sizeof(float)))
              << GetParam()->name << " in " << in << " out " << out << " rows " << rows;
        }
      }
    }
  }
}

TEST_P(SimdTest, LayerNormEqualsLibTorchs) {
  std::mt19937 random(13);
  for (const int64_t width : {2, 7, 16, 63, 512}) {
    const at::Tensor x = Uniform(random, {width}) * 3 + 5;
    const at::Tensor w = Uniform(random, {width}), b = Uniform(random, {width});
    at::Tensor y = at::zeros({width});
    GetParam()->layer_norm(x.data_ptr<float>(), width, w.data_ptr<float>(), b.data_ptr<float>(),
                           y.data_ptr<float>());
    EXPECT_LE((y - at::layer_norm(x, {width}, w, b)).abs().max().item<double>(), 2e-5) << width;
  }
}

TEST_P(SimdTest, ExponentialsAndAnglesAreGoodToAFewUlps) {
  for (const int64_t count : {1, 5, 16, 1000}) {
    const at::Tensor x = at::linspace(-90, 3, count);
    at::Tensor out = at::zeros({count});
    const float sum = GetParam()->sum_exp(x.data_ptr<float>(), count, 3.0f, out.data_ptr<float>());
    const at::Tensor exact = (x - 3.0f).clamp_min(-87).to(at::kDouble).exp();
    const double ulp = std::numeric_limits<float>::epsilon();
    EXPECT_LE(((out.to(at::kDouble) - exact) / exact).abs().max().item<double>(), 4 * ulp);
    EXPECT_NEAR(sum, exact.sum().item<double>(), 8 * ulp * exact.sum().item<double>());
    EXPECT_EQ(sum, GetParam()->sum_exp(x.data_ptr<float>(), count, 3.0f, nullptr));

    const at::Tensor z = at::linspace(-30, 30, count);
    at::Tensor sine = z.clone(), cosine = at::zeros({count});
    GetParam()->leap_angles(sine.data_ptr<float>(), count, cosine.data_ptr<float>());
    const at::Tensor angle = z.to(at::kDouble).sigmoid() * (M_PI / 2);
    EXPECT_LE((sine - angle.sin()).abs().max().item<double>(), 4 * ulp);
    EXPECT_LE((cosine - angle.cos()).abs().max().item<double>(), 4 * ulp);
  }
}

TEST_P(SimdTest, RowsAndSumsOfLinearAttentionAgree) {
  const SimdKernels& simd = *GetParam();
  std::mt19937 random(17);
  for (const int64_t F : {1, 6, 64, 128}) {
    for (const int64_t V : {1, 5, 16, 65}) {
      const int64_t count = 19, stride = F + V + 3;
      const at::Tensor rows = Uniform(random, {count, stride}), q = Uniform(random, {F});
      const HeadRows head{rows.data_ptr<float>(), count, stride};
      at::Tensor folded = at::zeros({F * V + F}), appended = folded.clone();
      simd.linear_fold(folded.data_ptr<float>(), F, V, head);
      for (int64_t n = 0; n < count; ++n) {
        simd.linear_fold(appended.data_ptr<float>(), F, V,
                         {rows.data_ptr<float>() + n * stride, 1, stride});
      }
      EXPECT_TRUE(at::equal(folded, appended)) << simd.name << ": together or one by one";
      const at::Tensor f = rows.slice(1, 0, F), v = rows.slice(1, F, F + V);
      EXPECT_LE((folded.slice(0, 0, F * V).view({F, V}) - at::matmul(f.t(), v))
                    .abs()
                    .max()
                    .item<double>(),
                1e-5 * count);
      at::Tensor from_rows = at::zeros({V}), from_sums = at::zeros({V});
      LinearStep step;
      step.query = q.data_ptr<float>();
      const float a = simd.linear_attend_rows(head, F, V, step.query, from_rows.data_ptr<float>());
      const float b =
          simd.linear_attend(folded.data_ptr<float>(), F, V, step, from_sums.data_ptr<float>());
      const double tolerance = 1e-6 * static_cast<double>(F * count);
      EXPECT_NEAR(a, b, tolerance) << simd.name << " F " << F;
      EXPECT_LE((from_rows - from_sums).abs().max().item<double>(), tolerance) << simd.name;
    }
  }
}

TEST(WorkspaceTest, GivesAlignedMemoryThatItKeeps) {
  Workspace scratch;
  float* first = nullptr;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Workspace::Scope scope(scratch);
    float* a = scratch.Floats(100);
    if (repeat == 0) first = a;
    EXPECT_EQ(a, first) << "free again after the scope";
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 64, 0u);
    float* b = nullptr;
    {
      const Workspace::Scope inner(scratch);
      b = scratch.Floats(1 << 20);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b) % 64, 0u);
      b[0] = b[(1 << 20) - 1] = 1;
    }
    EXPECT_NE(scratch.Floats(10), a);
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, SimdTest, ::testing::ValuesIn(SupportedSimdKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace leapstream
