#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parallel.h"

namespace leapstream {

#ifdef LEAPSTREAM_EMULATED_KERNELS
extern const SimdKernels kSimdEmulatedTiles;    // For any processor of the family.
extern const SimdKernels kSimdEmulatedAmxInt8;  // For those of Avx512Vnni.
#endif

namespace {

// This test needs neither LibTorch nor the rest of the engine, so that it can be built for other
// processors, too. Its plain loops compute in double.
using Floats = std::vector<float>;

Floats Normal(std::mt19937& random, int64_t count) {
  std::normal_distribution<float> normal;
  Floats x(count);
  for (float& value : x) value = normal(random);
  return x;
}

float Largest(const Floats& x) {
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(value));
  return largest;
}

// The largest |a - b|; NaN is larger than all.
double Apart(const Floats& a, const Floats& b) {
  double apart = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double one = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(one <= apart)) apart = std::isnan(one) ? std::numeric_limits<double>::infinity() : one;
  }
  return apart;
}

// x [rows, in] times w^T [out, in], plus b [out] unless it is empty.
Floats Multiplied(const Floats& x, const Floats& w, const Floats& b, int64_t in, int64_t out) {
  const auto rows = static_cast<int64_t>(x.size()) / in;
  Floats y(rows * out);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = b.empty() ? 0 : b[o];
      for (int64_t i = 0; i < in; ++i) sum += static_cast<double>(x[r * in + i]) * w[o * in + i];
      y[r * out + o] = static_cast<float>(sum);
    }
  }
  return y;
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
      const Floats before = Normal(random, F * V + F), out_before = Normal(random, V);
      const Floats q = Normal(random, F), k = Normal(random, F), v = Normal(random, V);
      Floats state = before, out = out_before, want = out_before;
      double sum = 0;
      for (int64_t i = 0; i < F; ++i) {
        sum += static_cast<double>(q[i]) * (before[F * V + i] + k[i]);
        for (int64_t j = 0; j < V; ++j) want[j] += q[i] * (before[i * V + j] + k[i] * v[j]);
      }
      Floats position = k;
      position.insert(position.end(), v.begin(), v.end());
      simd.float_sums.fold({state.data(), F, V}, {position.data(), 1, F + V});
      const float denominator = simd.float_sums.attend({state.data(), F, V}, q.data(), out.data());
      // F terms of magnitude up to about 10.
      const double tolerance =
          10.0 * static_cast<double>(F) * std::numeric_limits<float>::epsilon() * 10;
      EXPECT_LE(Apart(out, want), tolerance) << simd.name;
      EXPECT_NEAR(denominator, sum, tolerance) << simd.name;

      const Floats weights = Normal(random, F), values = Normal(random, F * V);
      Floats sums(V), plain(V);
      simd.add_weighted(weights.data(), values.data(), F, V, sums.data());
      for (int64_t i = 0; i < F; ++i) {
        for (int64_t j = 0; j < V; ++j) plain[j] += weights[i] * values[i * V + j];
      }
      EXPECT_LE(Apart(sums, plain), tolerance);
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
    const Floats w = Normal(random, out * in), x = Normal(random, rows * in);
    const PackedLinear linear(w.data(), nullptr, out, in, type);
    Floats one(rows * out), three(rows * out);
    linear.Apply(x.data(), rows, one.data(), scratch);
    {
      const ThreadsScope threads(3);
      linear.Apply(x.data(), rows, three.data(), scratch);
    }
    EXPECT_EQ(one, three) << "type " << static_cast<int>(type);
  }
}

// The result of an epilogue, from the products and what was there before.
float Finished(Epilogue epilogue, float product, float before) {
  switch (epilogue) {
    case Epilogue::kStore:
      return product;
    case Epilogue::kRelu:
      return std::max(product, 0.0f);
    case Epilogue::kAdd:
      return before + product;
  }
  return 0;
}

TEST_P(SimdTest, ProductsOfAnyTypeEqualThePlainLoops) {
  std::mt19937 random(7);
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    for (const int64_t in : {1, 63, 64, 257}) {
      for (const int64_t out : {1, 15, 16, 63, 257}) {
        for (const int64_t rows : {1, 2, 3, 4, 5, 15, 63}) {
          const Floats w = Normal(random, out * in), b = Normal(random, out);
          const Floats x = Normal(random, rows * in), before = Normal(random, rows * out);
          const PackedLinear linear(w.data(), b.data(), out, in, type);
          const Floats exact = Multiplied(x, w, b, in, out);
          const double largest = std::max({Largest(x) * Largest(w), Largest(b), Largest(before)});
          const double tolerance = ErrorPerInput(type, in) * static_cast<double>(in + 1) * largest;
          for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kRelu, Epilogue::kAdd}) {
            Floats y(rows * out, std::numeric_limits<float>::quiet_NaN()), expected = exact;
            if (epilogue == Epilogue::kAdd) y = before;
            for (size_t i = 0; i < exact.size(); ++i) {
              expected[i] = Finished(epilogue, exact[i], before[i]);
            }
            linear.ApplyOn(*GetParam(), x.data(), rows, y.data(), scratch, epilogue);
            ASSERT_LE(Apart(y, expected), tolerance)
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
  const Floats w = Normal(random, out * in), good = Normal(random, rows * in);
  for (const ComputeType type : kTypes) {
    const PackedLinear linear(w.data(), nullptr, out, in, type);
    Floats expected(rows * out), y(rows * out);
    linear.ApplyOn(*GetParam(), good.data(), rows, expected.data(), scratch, Epilogue::kRelu);
    for (const int64_t place : {0, 37, 69}) {
      Floats x = good;
      x[in + place] = std::numeric_limits<float>::quiet_NaN();
      linear.ApplyOn(*GetParam(), x.data(), rows, y.data(), scratch, Epilogue::kRelu);
      for (int64_t o = 0; o < out; ++o) {
        EXPECT_TRUE(std::isnan(y[out + o])) << static_cast<int>(type) << " " << place;
        EXPECT_EQ(y[o], expected[o]) << static_cast<int>(type);
        EXPECT_EQ(y[2 * out + o], expected[2 * out + o]) << static_cast<int>(type);
      }
      x[in + place] = std::numeric_limits<float>::infinity();
      linear.ApplyOn(*GetParam(), x.data(), rows, y.data(), scratch, Epilogue::kStore);
      for (int64_t o = 0; o < out; ++o) {
        EXPECT_FALSE(std::isfinite(y[out + o])) << static_cast<int>(type) << " " << place;
      }
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
    Floats w = Normal(random, out * in), x = Normal(random, rows * in);
    Floats signs = Normal(random, in);
    for (float& sign : signs) sign = sign < 0 ? -1.0f : 1.0f;
    std::fill_n(&x[1 * in], in, -1.0f);
    std::copy(signs.begin(), signs.end(), &x[2 * in]);
    std::fill_n(&x[3 * in], 3, 40.0f);
    std::fill_n(&w[1 * in], in, 1.0f);
    std::copy(signs.begin(), signs.end(), &w[2 * in]);
    std::fill_n(&w[47 * in], in, -1.0f);
    const PackedLinear linear(w.data(), nullptr, out, in, ComputeType::kInt8);
    Floats here(rows * out), baseline(rows * out);
    linear.ApplyOn(*GetParam(), x.data(), rows, here.data(), scratch, Epilogue::kStore);
    linear.ApplyOn(*SupportedSimdKernels()[0], x.data(), rows, baseline.data(), scratch,
                   Epilogue::kStore);
    EXPECT_EQ(here, baseline) << in;
    EXPECT_NEAR(here[1 * out + 1], -in, 1e-5 * static_cast<double>(in));
    EXPECT_NEAR(here[2 * out + 2], in, 1e-5 * static_cast<double>(in));
  }
}

// Numbers for int8 that quantising leaves as they are: the scales of inputs and weights are 1.
Floats WholeNumbers(std::mt19937& random, int64_t rows, int64_t in, int first, int most) {
  std::uniform_int_distribution<int> number(-most, most);
  Floats x(rows * in);
  for (int64_t i = 0; i < rows * in; ++i) {
    x[i] = static_cast<float>(i % in < 8 ? first : number(random));
  }
  return x;
}

TEST_P(SimdTest, Int8ProductsOfManyRowsEqualTheSumsOfIntegers) {
  std::mt19937 random(15);
  Workspace scratch;
  for (const int64_t in : {8, 60, 64, 68, 128, 516, 1100}) {
    for (const int64_t out : {16, 45, 48}) {
      const Floats w = WholeNumbers(random, out, in, -127, 127);
      const PackedLinear linear(w.data(), nullptr, out, in, ComputeType::kInt8);
      const Floats x = WholeNumbers(random, 384, in, 63, 63);
      const Floats exact = Multiplied(x, w, {}, in, out);
      // 384 rows are 64 tiles of six, which three blocks cannot share evenly.
      for (const int64_t rows : {1, 9, 15, 16, 17, 31, 32, 33, 48, 63, 96, 97, 200, 384}) {
        Floats y(rows * out, std::numeric_limits<float>::quiet_NaN());
        linear.ApplyOn(*GetParam(), x.data(), rows, y.data(), scratch, Epilogue::kStore);
        ASSERT_EQ(0, std::memcmp(y.data(), exact.data(), y.size() * sizeof(float)))
            << in << " inputs, " << out << " outputs, " << rows << " rows";
      }
    }
  }
}

TEST_P(SimdTest, KernelsAreChosenOnlyIfTheirInt8ProductsAreRight) {
  const SimdKernels* const first = SupportedSimdKernels().front();
  EXPECT_EQ(&LastThatPasses({first, GetParam()}), GetParam());
  static const SimdKernels* right = nullptr;
  right = GetParam();
  SimdKernels wrong = *right;
  wrong.multiply_int8 = [](const Product& product) {
    right->multiply_int8(product);
    if (product.rows == 37) product.y[37 * product.out - 1] += 1;
  };
  EXPECT_EQ(&LastThatPasses({first, &wrong}), first);
  EXPECT_EQ(&LastThatPasses({first, right, &wrong}), right);
  EXPECT_EQ(&LastThatPasses({&wrong}), &wrong) << "there is nothing else";
}

TEST_P(SimdTest, ABatchGivesWhatItsMembersGiveAloneToTheBit) {
  std::mt19937 random(11);
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    for (const int64_t in : {5, 64, 257}) {
      for (const int64_t out : {1, 63, 160}) {
        const Floats w = Normal(random, out * in), b = Normal(random, out);
        const Floats x = Normal(random, 37 * in);
        const PackedLinear linear(w.data(), b.data(), out, in, type);
        Floats alone(37 * out), batch(37 * out);
        for (int r = 0; r < 37; ++r) {
          linear.ApplyOn(*GetParam(), x.data() + r * in, 1, alone.data() + r * out, scratch,
                         Epilogue::kStore);
        }
        for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 31, 32, 37}) {
          linear.ApplyOn(*GetParam(), x.data(), rows, batch.data(), scratch, Epilogue::kStore);
          ASSERT_EQ(0, std::memcmp(alone.data(), batch.data(), rows * out * sizeof(float)))
              << GetParam()->name << " in " << in << " out " << out << " rows " << rows;
        }
      }
    }
  }
}

TEST_P(SimdTest, LayerNormEqualsThePlainLoop) {
  std::mt19937 random(13);
  for (const int64_t width : {2, 7, 16, 63, 512}) {
    Floats x = Normal(random, width);
    for (float& value : x) value = value * 3 + 5;
    const Floats w = Normal(random, width), b = Normal(random, width);
    double mean = 0, variance = 0;
    for (const float value : x) mean += value / static_cast<double>(width);
    for (const float value : x) {
      variance += (value - mean) * (value - mean) / static_cast<double>(width);
    }
    Floats y(width), expected(width);
    for (int64_t i = 0; i < width; ++i) {
      expected[i] = static_cast<float>((x[i] - mean) / std::sqrt(variance + 1e-5) * w[i] + b[i]);
    }
    GetParam()->layer_norm(x.data(), width, w.data(), b.data(), y.data());
    EXPECT_LE(Apart(y, expected), 2e-5) << width;
  }
}

// `count` numbers from `first` to `last`, at equal distances.
Floats Between(float first, float last, int64_t count) {
  Floats x(count, first);
  for (int64_t i = 1; i < count; ++i) {
    x[i] = first + (last - first) * static_cast<float>(i) / static_cast<float>(count - 1);
  }
  return x;
}

TEST_P(SimdTest, ExponentialsAndAnglesAreGoodToAFewUlps) {
  constexpr double kUlp = std::numeric_limits<float>::epsilon();
  for (const int64_t count : {1, 5, 16, 1000}) {
    const Floats x = Between(-90, 3, count);
    Floats out(count);
    const float sum = GetParam()->sum_exp(x.data(), count, 3.0f, out.data());
    double exact_sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double exact = std::exp(static_cast<double>(std::max(x[i] - 3.0f, -87.0f)));
      exact_sum += exact;
      EXPECT_NEAR(out[i], exact, 4 * kUlp * exact) << x[i];
    }
    EXPECT_NEAR(sum, exact_sum, 8 * kUlp * exact_sum);
    EXPECT_EQ(sum, GetParam()->sum_exp(x.data(), count, 3.0f, nullptr));

    const Floats z = Between(-30, 30, count);
    Floats sine = z, cosine(count);
    GetParam()->leap_angles(sine.data(), count, cosine.data());
    for (int64_t i = 0; i < count; ++i) {
      const double angle = M_PI / 2 / (1 + std::exp(-static_cast<double>(z[i])));
      EXPECT_NEAR(sine[i], std::sin(angle), 4 * kUlp) << z[i];
      EXPECT_NEAR(cosine[i], std::cos(angle), 4 * kUlp) << z[i];
    }
  }
}

TEST_P(SimdTest, RowsAndSumsOfLinearAttentionAgree) {
  const SimdKernels& simd = *GetParam();
  std::mt19937 random(17);
  for (const int64_t F : {1, 6, 64, 128}) {
    for (const int64_t V : {1, 5, 16, 65}) {
      const int64_t count = 19, stride = F + V + 3;
      const Floats rows = Normal(random, count * stride), q = Normal(random, F);
      const HeadRows head{rows.data(), count, stride};
      Floats folded(F * V + F), appended(F * V + F), plain(F * V + F);
      simd.float_sums.fold({folded.data(), F, V}, head);
      for (int64_t n = 0; n < count; ++n) {
        const float* const row = rows.data() + n * stride;
        simd.float_sums.fold({appended.data(), F, V}, {row, 1, stride});
        for (int64_t i = 0; i < F; ++i) {
          plain[F * V + i] += row[i];
          for (int64_t j = 0; j < V; ++j) plain[i * V + j] += row[i] * row[F + j];
        }
      }
      EXPECT_EQ(folded, appended) << simd.name << ": together or one by one";
      EXPECT_LE(Apart(folded, plain), 1e-5 * count) << simd.name;
      Floats from_rows(V), from_sums(V);
      const float a = simd.linear_attend_rows(head, F, V, q.data(), from_rows.data());
      const float b = simd.float_sums.attend({folded.data(), F, V}, q.data(), from_sums.data());
      const double tolerance = 1e-6 * static_cast<double>(F * count);
      EXPECT_NEAR(a, b, tolerance) << simd.name << " F " << F;
      EXPECT_LE(Apart(from_rows, from_sums), tolerance) << simd.name;
    }
  }
}

// Rows of non-negative features, as all features are, and values.
Floats Positions(std::mt19937& random, int64_t count, int64_t F, int64_t V) {
  Floats rows = Normal(random, count * (F + V));
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t i = 0; i < F; ++i) {
      float& feature = rows[n * (F + V) + i];
      feature = std::max(feature, 0.0f);  // Every other one is zero.
    }
  }
  return rows;
}

// One pass that folds and attends leaves and gives the bits of a fold and a pass that attends; and
// gives the same where it leaves everything as it was.
TEST_P(SimdTest, FoldingWhileAttendingEqualsOneAfterTheOther) {
  std::mt19937 random(23);
  for (const SumKernels& sums : {GetParam()->float_sums, GetParam()->half_sums}) {
    for (const int64_t F : {1, 6, 64, 131}) {
      for (const int64_t V : {1, 5, 16, 64, 65}) {
        const Floats before = Positions(random, 7, F, V), pair = Positions(random, kFoldRows, F, V);
        const Floats q = Positions(random, 1, F, V), out_before = Normal(random, V);
        Floats one(sums.floats(F, V));
        sums.fold({one.data(), F, V}, {before.data(), 7, F + V});
        Floats other = one, kept = one, out_one = out_before, out_other = out_before,
               out_kept = out_before;
        const HeadRows rows{pair.data(), kFoldRows, F + V};
        sums.fold({one.data(), F, V}, rows);
        const float a = sums.attend({one.data(), F, V}, q.data(), out_one.data());
        const float b = sums.fold_and_attend({other.data(), F, V}, rows, FoldResult::kStored,
                                             q.data(), out_other.data());
        const Floats unchanged = kept;
        const float c = sums.fold_and_attend({kept.data(), F, V}, rows, FoldResult::kForgotten,
                                             q.data(), out_kept.data());
        const size_t size = one.size() * sizeof(float);
        EXPECT_EQ(0, std::memcmp(one.data(), other.data(), size)) << F << " " << V;
        EXPECT_EQ(0, std::memcmp(unchanged.data(), kept.data(), size)) << F << " " << V;
        EXPECT_EQ(out_one, out_other) << GetParam()->name << " F " << F << " V " << V;
        EXPECT_EQ(out_one, out_kept) << GetParam()->name << " F " << F << " V " << V;
        EXPECT_EQ(a, b);
        EXPECT_EQ(a, c);
      }
    }
  }
}

// The mean of the values, by features, as the half sums have it.
Floats MeansOf(const SumKernels& sums, const Floats& memory, int64_t F, int64_t V) {
  Floats means(F * V);
  for (int64_t i = 0; i < F; ++i) {
    Floats query(F);
    query[i] = 1;
    const float sum = sums.attend({const_cast<float*>(memory.data()), F, V}, query.data(),
                                  means.data() + i * V);
    for (int64_t j = 0; j < V && sum > 0; ++j) means[i * V + j] /= sum;
  }
  return means;
}

TEST_P(SimdTest, HalfSumsEqualThePlainLoops) {
  const SumKernels& sums = GetParam()->half_sums;
  std::mt19937 random(29);
  for (const int64_t F : {1, 6, 64, 131}) {
    for (const int64_t V : {1, 5, 16, 65}) {
      const int64_t count = 24;
      const Floats rows = Positions(random, count, F, V);
      Floats memory(sums.floats(F, V));
      std::vector<double> plain(F * V), keys(F);
      for (int64_t n = 0; n < count; n += 8) {
        sums.fold({memory.data(), F, V}, {rows.data() + n * (F + V), 8, F + V});
      }
      for (int64_t n = 0; n < count; ++n) {
        const float* const row = rows.data() + n * (F + V);
        for (int64_t i = 0; i < F; ++i) {
          keys[i] += row[i];
          for (int64_t j = 0; j < V; ++j) plain[i * V + j] += double{row[i]} * row[F + j];
        }
      }
      const Floats means = MeansOf(sums, memory, F, V);
      for (int64_t i = 0; i < F; ++i) {
        for (int64_t j = 0; j < V; ++j) {
          const double want = keys[i] > 0 ? plain[i * V + j] / keys[i] : 0;
          // Three roundings of an ulp of float16, of values up to about 4.
          EXPECT_NEAR(means[i * V + j], want, 3 * 4.0 / 1024) << GetParam()->name << " " << F;
        }
      }
    }
  }
}

// Values that change after thousands of positions move the mean by less than float16 can tell, each
// by itself. Rounded to nearest it would stay where it was.
TEST_P(SimdTest, AMeanOfFloat16GoesOnAfterManyPositions) {
  const SumKernels& sums = GetParam()->half_sums;
  const int64_t F = 16, V = 16;
  std::mt19937 random(31);
  Floats memory(sums.floats(F, V));
  std::vector<double> plain(F), keys(F);
  for (int n = 0; n < 40000; ++n) {
    const float value = n < 20000 ? 1.0f : 1.5f;
    Floats pair(kFoldRows * (F + V), value);
    for (int64_t row = 0; row < kFoldRows; ++row) {
      for (int64_t i = 0; i < F; ++i) {
        const float feature = static_cast<float>(random() % 1000) / 1000;
        pair[row * (F + V) + i] = feature;
        keys[i] += feature;
        plain[i] += double{feature} * value;
      }
    }
    sums.fold({memory.data(), F, V}, {pair.data(), kFoldRows, F + V});
  }
  const Floats means = MeansOf(sums, memory, F, V);
  for (int64_t i = 0; i < F; ++i) {
    for (int64_t j = 0; j < V; ++j) {
      // 20,000 times up or down by 1/1024, up once in 80 times: a deviation of 0.015.
      EXPECT_NEAR(means[i * V + j], plain[i] / keys[i], 0.08) << GetParam()->name;
    }
  }
}

// A value that is not finite shows, and no finite one becomes infinite.
TEST_P(SimdTest, HalfSumsKeepWhatIsNotFiniteApart) {
  const SumKernels& sums = GetParam()->half_sums;
  const int64_t F = 17, V = 17;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(), 1e30f, -1e30f, 1e-7f, 0.0f}) {
    Floats memory(sums.floats(F, V)), row(F + V, 0.5f), query(F, 1.0f), out(V);
    row[F + 3] = row[F + 16] = value;
    for (int n = 0; n < 9; ++n) sums.fold({memory.data(), F, V}, {row.data(), 1, F + V});
    sums.attend({memory.data(), F, V}, query.data(), out.data());
    for (const int64_t j : {3, 16}) {
      EXPECT_EQ(std::isfinite(value), std::isfinite(out[j])) << GetParam()->name << " " << value;
    }
    EXPECT_NEAR(out[2], 0.5 * 9 * F * 0.5, 0.1) << GetParam()->name << " " << value;
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

std::vector<const SimdKernels*> AllKernels() {
  std::vector<const SimdKernels*> kernels = SupportedSimdKernels();
#ifdef LEAPSTREAM_EMULATED_KERNELS
  const bool avx512_vnni = std::any_of(kernels.begin(), kernels.end(), [](const SimdKernels* some) {
    return some->name == std::string("Avx512Vnni");
  });
  kernels.push_back(&kSimdEmulatedTiles);
  if (avx512_vnni) kernels.push_back(&kSimdEmulatedAmxInt8);
#endif
  return kernels;
}

INSTANTIATE_TEST_SUITE_P(Processors, SimdTest, ::testing::ValuesIn(AllKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace leapstream
