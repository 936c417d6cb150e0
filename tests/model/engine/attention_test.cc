// Compares every attention kind with its quadratic twin, and checks the promises of all kinds: a
// batch gives what its members give alone, and a dropped position leaves no trace.
#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include "model/engine/attention/monotonic_attention.h"
#include "tests/model/engine/attention_kinds.h"

namespace leapstream {
namespace {

struct Size {
  int64_t T, H, d;
  std::optional<int64_t> rows = std::nullopt;  // See LinearOptions::rows.
};

class AttentionTest : public ::testing::TestWithParam<Size> {
 protected:
  AttentionTest() : random_(static_cast<uint32_t>(GetParam().T * 100 + GetParam().d)) {
    const auto [T, H, d, rows] = GetParam();
    q_ = NormalTensor(random_, {T, H, d});
    k_ = NormalTensor(random_, {T, H, d});
    v_ = NormalTensor(random_, {T, H, d});
    kinds_ = AttentionKinds(random_, H, d, rows);
  }

  at::Tensor Naive(const AttentionKindCase& kind, const at::Tensor& mask) const {
    const auto heads = [](const at::Tensor& x) { return x.transpose(0, 1).contiguous(); };
    return kind.naive(heads(q_), heads(k_), heads(v_), mask).transpose(0, 1).contiguous();
  }
  at::Tensor Causal() const { return at::ones({GetParam().T, GetParam().T}).tril().to(at::kBool); }
  at::Tensor All() const { return at::ones({GetParam().T, GetParam().T}).to(at::kBool); }

  // A result is a sum of T weights, each a sum of d products, in another order than the twin's.
  // That makes T + d roundings, of numbers that are at most a few times the result's magnitude.
  double Tolerance(const at::Tensor& expected) const {
    const auto [T, H, d, rows] = GetParam();
    return 8.0 * std::numeric_limits<float>::epsilon() * static_cast<double>(T + d) *
           std::max(1.0, expected.abs().max().item<double>());
  }
  void ExpectClose(const at::Tensor& expected, const at::Tensor& got, const AttentionKindCase& kind,
                   const std::string& what = "") {
    const at::Tensor difference = (expected - got).abs();
    const double error = kind.state_error * std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LE(difference.max().item<double>(), Tolerance(expected) + error)
        << kind.name
        << what << ": worst at " << difference.argmax().item<int64_t>();
  }

  const float* Row(const at::Tensor& x, int64_t t) const {
    return x.data_ptr<float>() + t * x.stride(0);
  }
  std::vector<AttentionRow> Rows(AttentionState* state, int64_t begin, int64_t end) const {
    std::vector<AttentionRow> rows;
    for (int64_t t = begin; t < end; ++t) rows.push_back({state, static_cast<int>(t)});
    return rows;
  }

  std::mt19937 random_;
  at::Tensor q_, k_, v_;  // [T, H, d]
  std::vector<AttentionKindCase> kinds_;
  Workspace scratch_;
};

TEST_P(AttentionTest, StepEqualsTheNaiveFormInAnyChunks) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    if (!kind.causal) continue;
    const at::Tensor expected = Naive(kind, Causal());
    at::Tensor first;
    for (const int64_t chunk : {int64_t{1}, int64_t{5}, T}) {
      const auto state = kind.kind->NewState();
      at::Tensor out = at::full_like(expected, std::numeric_limits<float>::quiet_NaN());
      for (int64_t t = 0; t < T; t += chunk) {
        kind.kind->Step({Row(q_, t), Row(k_, t), Row(v_, t)},
                        Rows(state.get(), t, std::min(t + chunk, T)), StepPast::kSettled,
                        const_cast<float*>(Row(out, t)), scratch_);
      }
      ExpectClose(expected, out, kind);
      if (!first.defined()) first = out;
      EXPECT_TRUE(at::equal(first, out)) << kind.name << ": to the bit, in chunks of " << chunk;
    }
  }
}

TEST_P(AttentionTest, AppendThenAttendEqualsTheNaiveForm) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    const at::Tensor expected = Naive(kind, All());
    const auto state = kind.kind->NewState();
    for (const bool again : {false, true}) {  // A used state that is reset is as good as a new one.
      state->Reset();
      const std::vector<AttentionRow> rows = Rows(state.get(), 0, T);
      at::Tensor out = at::full_like(expected, std::numeric_limits<float>::quiet_NaN());
      kind.kind->Append(Row(k_, 0), Row(v_, 0), rows, scratch_);
      kind.kind->Attend(Row(q_, 0), rows, out.data_ptr<float>(), scratch_);
      ExpectClose(expected, out, kind, again ? " again" : "");
    }
  }
}

TEST_P(AttentionTest, PositionsAppendedAndAttendedAtOnceEqualThoseOneByOneToTheBit) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    at::Tensor first;
    for (const int64_t chunk : {int64_t{1}, int64_t{5}, T}) {
      const auto state = kind.kind->NewState();
      at::Tensor out = at::full_like(q_, std::numeric_limits<float>::quiet_NaN());
      for (int64_t t = 0; t < T; t += chunk) {
        kind.kind->Append(Row(k_, t), Row(v_, t), Rows(state.get(), t, std::min(t + chunk, T)),
                          scratch_);
      }
      for (int64_t t = 0; t < T; t += chunk) {
        kind.kind->Attend(Row(q_, t), Rows(state.get(), t, std::min(t + chunk, T)),
                          const_cast<float*>(Row(out, t)), scratch_);
      }
      if (!first.defined()) first = out;
      EXPECT_TRUE(at::equal(first, out)) << kind.name << " in chunks of " << chunk;
    }
  }
}

// Every position is stepped twice, the first time with another's query, key and value; also two
// positions before they are settled, as layers that share their state do.
TEST_P(AttentionTest, WhatIsDroppedLeavesNoTrace) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    if (!kind.causal) continue;
    const at::Tensor expected = Naive(kind, Causal());
    for (const int64_t together : {1, 2}) {
      const auto state = kind.kind->NewState(), plain = kind.kind->NewState();
      at::Tensor out = at::empty_like(expected), other = at::empty_like(expected);
      for (int64_t t = 0; t < T; ++t) {
        const int64_t wrong = T - 1 - t;
        if (t % together == 0) {
          kind.kind->Step({Row(q_, wrong), Row(k_, wrong), Row(v_, wrong)},
                          Rows(state.get(), t, t + 1), StepPast::kProvisional,
                          const_cast<float*>(Row(out, t)), scratch_);
          state->Drop();
        }
        kind.kind->Step({Row(q_, t), Row(k_, t), Row(v_, t)}, Rows(state.get(), t, t + 1),
                        StepPast::kProvisional, const_cast<float*>(Row(out, t)), scratch_);
        kind.kind->Step({Row(q_, t), Row(k_, t), Row(v_, t)}, Rows(plain.get(), t, t + 1),
                        StepPast::kProvisional, const_cast<float*>(Row(other, t)), scratch_);
        if (t % together == together - 1) {
          state->Settle();
          plain->Settle();
        }
      }
      ExpectClose(expected, out, kind);
      EXPECT_TRUE(at::equal(out, other))
          << kind.name << ": to the bit, " << together << " together";
    }
  }
}

TEST_P(AttentionTest, ABatchGivesWhatItsMembersGiveAloneToTheBit) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    if (!kind.causal) continue;
    // Two segments, one of them late by one position, in one batch.
    const auto one = kind.kind->NewState(), two = kind.kind->NewState();
    const auto alone = kind.kind->NewState();
    const at::Tensor q = at::cat({q_, q_}), k = at::cat({k_, k_}), v = at::cat({v_, v_});
    std::vector<AttentionRow> rows = Rows(one.get(), 0, T);
    for (const AttentionRow& row : Rows(two.get(), 0, T)) rows.push_back(row);
    at::Tensor batch = at::empty_like(q), single = at::empty_like(q_);
    kind.kind->Step({Row(q, 0), Row(k, 0), Row(v, 0)}, rows, StepPast::kSettled,
                    batch.data_ptr<float>(), scratch_);
    kind.kind->Step({Row(q_, 0), Row(k_, 0), Row(v_, 0)}, Rows(alone.get(), 0, T),
                    StepPast::kSettled, single.data_ptr<float>(), scratch_);
    EXPECT_TRUE(at::equal(batch.slice(0, 0, T), single)) << kind.name;
    EXPECT_TRUE(at::equal(batch.slice(0, T), single)) << kind.name;
  }
}

// Queries fold positions into the sums of a state that has its memory alone, and only for
// themselves if copies share it. Nobody sees the difference, and no copy sees another's positions.
TEST_P(AttentionTest, CopiesThatShareMemoryAttendAsTheOriginalToTheBit) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    const auto state = kind.kind->NewState(), alone = kind.kind->NewState();
    auto copy = state->Clone();
    at::Tensor shared = at::empty_like(q_), other = at::empty_like(q_), out = at::empty_like(q_);
    for (int64_t t = 0; t < T; ++t) {
      for (const auto& each : {state.get(), alone.get()}) {
        kind.kind->Append(Row(k_, t), Row(v_, t), Rows(each, t, t + 1), scratch_);
      }
      copy = state->Clone();
      for (const auto& [each, to] :
           {std::pair(state.get(), &shared), {copy.get(), &other}, {alone.get(), &out}}) {
        kind.kind->Attend(Row(q_, t), Rows(each, t, t + 1), const_cast<float*>(Row(*to, t)),
                          scratch_);
      }
      if (t % 3 == 0) {
        kind.kind->Append(Row(q_, t), Row(q_, t), Rows(copy.get(), t + 1, t + 2), scratch_);
        kind.kind->Attend(Row(q_, t), Rows(copy.get(), t + 1, t + 2),
                          const_cast<float*>(Row(other, t)), scratch_);
        EXPECT_TRUE(t == 0 || !at::equal(other[t], out[t])) << kind.name;
      } else {
        EXPECT_TRUE(at::equal(other[t], out[t])) << kind.name << " " << t;
      }
    }
    EXPECT_TRUE(at::equal(shared, out)) << kind.name;
  }
}

TEST_P(AttentionTest, ASavedStateGoesOnToTheBit) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    if (!kind.causal) continue;
    const int64_t half = T / 2;
    const auto state = kind.kind->NewState(), loaded = kind.kind->NewState();
    at::Tensor out = at::empty_like(q_), other = at::empty_like(q_);
    const auto step = [&](AttentionState* each, int64_t begin, int64_t end, at::Tensor& to) {
      kind.kind->Step({Row(q_, begin), Row(k_, begin), Row(v_, begin)}, Rows(each, begin, end),
                      StepPast::kSettled, const_cast<float*>(Row(to, begin)), scratch_);
    };
    step(state.get(), 0, half, out);
    std::string bytes;
    state->Save(&bytes);
    absl::string_view rest = bytes;
    ASSERT_TRUE(loaded->Load(half, &rest) && rest.empty()) << kind.name;
    step(state.get(), half, T, out);
    step(loaded.get(), half, T, other);
    EXPECT_TRUE(at::equal(out.slice(0, half), other.slice(0, half))) << kind.name;
    // Bytes from outside that are no finite numbers.
    for (const size_t at : {bytes.size() / 2, bytes.size() - 4}) {
      std::string broken = bytes;
      if (broken.size() < 64) continue;
      std::fill_n(broken.begin() + static_cast<int64_t>(at / 4 * 4), 4, '\x7f');
      broken[at / 4 * 4 + 2] = broken[at / 4 * 4] = '\xff';
      rest = broken;
      EXPECT_FALSE(loaded->Load(half, &rest)) << kind.name << " " << at;
    }
  }
}

TEST_P(AttentionTest, StatesOfLinearKindsDoNotGrowAndOthersGrowByBlocks) {
  const int64_t T = GetParam().T;
  for (const AttentionKindCase& kind : kinds_) {
    if (!kind.causal) continue;
    const auto state = kind.kind->NewState();
    const int64_t before = state->bytes();
    at::Tensor out = at::empty_like(q_);
    for (int64_t t = 0; t < T; ++t) {
      kind.kind->Step({Row(q_, t), Row(k_, t), Row(v_, t)}, Rows(state.get(), t, t + 1),
                      StepPast::kProvisional, const_cast<float*>(Row(out, t)), scratch_);
      state->Settle();
    }
    const bool cache = kind.name == "softmax" || kind.name == "leap_softmax";
    EXPECT_EQ(cache, state->bytes() != before) << kind.name;
    const int64_t after = state->bytes();
    state->Reset();
    EXPECT_EQ(after, state->bytes()) << kind.name << ": memory is kept";
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionTest,
                         ::testing::Values(Size{1, 1, 1}, Size{1, 4, 16}, Size{63, 2, 5},
                                           Size{64, 1, 8}, Size{257, 2, 32}, Size{700, 1, 16},
                                           // Rows are folded at once, at the end, and never.
                                           Size{90, 2, 12, 0}, Size{90, 2, 12, 1},
                                           Size{90, 2, 12, 63}, Size{90, 2, 12, 88},
                                           Size{90, 2, 12, 89}, Size{90, 2, 12, 90},
                                           Size{90, 2, 12, 91}, Size{90, 2, 12, 1000}));

// The path of one head is computed by hand: energies are q . k with q = 1, so that a head moves on
// at negative keys.
TEST(MonotonicAttentionTest, HeadsMoveOnWhileTheEnergyIsNegative) {
  MonotonicOptions options;
  options.heads = 1;
  options.d = 1;
  const MonotonicAttention attention(std::make_unique<ScaledFeatures>(1, 1), options);
  const auto state = attention.NewState();
  const std::vector<AttentionRow> row = {{state.get(), 0}};
  Workspace scratch;
  float query = 1, out = 0;
  const auto append = [&](float key, float value) { attention.Append(&key, &value, row, scratch); };
  const auto attend = [&] {
    attention.Attend(&query, row, &out, scratch);
    return out;
  };
  append(-1, 10);
  EXPECT_EQ(attend(), 10);
  EXPECT_TRUE(state->wants_source());
  append(-1, 20);
  EXPECT_EQ(attend(), 20);
  EXPECT_TRUE(state->wants_source());
  append(2, 30);
  append(-3, 40);
  EXPECT_EQ(attend(), 30) << "it stays where the energy is positive";
  EXPECT_FALSE(state->wants_source());
  state->Drop();  // None of these moves was settled.
  query = -1;
  EXPECT_EQ(attend(), 10);
  EXPECT_FALSE(state->wants_source());
  query = 1;
  EXPECT_EQ(attend(), 30);
  state->Settle();
  query = -1;
  EXPECT_EQ(attend(), 40) << "heads never go back";
  state->Reset();
  append(5, 50);
  EXPECT_EQ(attend(), 50);
}

// See docs/fairseq.md, rule 12.
TEST(MonotonicAttentionTest, OneHeadAtTheCeilingTakesTheOthersThere) {
  MonotonicOptions options;
  options.heads = 2;
  options.d = 1;
  const MonotonicAttention attention(std::make_unique<ScaledFeatures>(2, 1), options);
  const auto state = attention.NewState();
  const std::vector<AttentionRow> row = {{state.get(), 0}};
  Workspace scratch;
  const float query[] = {1, 1};
  float out[2];
  const float keys[][2] = {{-1, 1}, {-1, 1}, {-1, 1}};
  const float values[][2] = {{1, 1}, {2, 2}, {3, 3}};
  for (int p = 0; p < 3; ++p) attention.Append(keys[p], values[p], row, scratch);
  attention.Attend(query, row, out, scratch);
  EXPECT_EQ(out[0], 3);
  EXPECT_EQ(out[1], 1) << "its own energy keeps it";
  EXPECT_TRUE(state->wants_source());
  attention.Attend(query, row, out, scratch);
  EXPECT_EQ(out[1], 3) << "the other stood at the ceiling when the step began";
}

// Without mass preservation a hard head may leave the last position and then reads nothing.
TEST(MonotonicAttentionTest, WithoutMassPreservationAHeadMayLeaveTheSource) {
  MonotonicOptions options;
  options.heads = 1;
  options.d = 1;
  options.mass_preservation = false;
  options.energy_bias = -2;
  const MonotonicAttention attention(std::make_unique<ScaledFeatures>(1, 1), options);
  const auto state = attention.NewState();
  const std::vector<AttentionRow> row = {{state.get(), 0}};
  Workspace scratch;
  const float query = 1, key = 1, value = 7;
  float out = 1;
  attention.Append(&key, &value, row, scratch);
  attention.Attend(&query, row, &out, scratch);
  EXPECT_EQ(out, 0);
  EXPECT_TRUE(state->wants_source());
}

}  // namespace
}  // namespace leapstream
