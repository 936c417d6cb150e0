// Steps in one pass, a past that is refreshed, prefixes with an end and the place where a step
// looks, each against steps made one by one.
#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/engine/attention/softmax_attention.h"
#include "model/engine/transformer.h"
#include "model/api/vocabulary.h"
#include "tests/bench/bench_model.h"

namespace leapstream {
namespace {

constexpr int kVocabulary = 60;

struct Kind {
  const char* attention;
  bool causal_encoder;
};

class VerifyTest : public testing::TestWithParam<Kind> {
 protected:
  VerifyTest() {
    ModelConfig config = *ShapeConfig("base");
    config.causal_encoder = GetParam().causal_encoder;
    for (SideConfig* side : {&config.encoder, &config.decoder}) {
      side->embed_dim = side->input_dim = side->output_dim = 16;
      side->ffn_embed_dim = 32;
      side->layers = 2;
      side->attention_heads = 2;
      side->vocabulary_size = kVocabulary;
      side->self_attention = side->cross_attention = GetParam().attention;
    }
    const std::string path =
        absl::StrCat(testing::TempDir(), "verify_", GetParam().attention, ".safetensors");
    EXPECT_TRUE(WriteRandomWeights(config, path).ok());
    transformer_ = *Transformer::Create(config, *Weights::Load(path));
  }

  std::unique_ptr<SessionState> NewState(bool refreshes = false) const {
    auto state = *transformer_->NewState();
    state->ShowAttention();
    if (refreshes) state->RefreshPast();
    return state;
  }
  void Read(SessionState* state, const std::vector<TokenId>& tokens) const {
    ASSERT_TRUE(transformer_->Read({SourceRows{state, tokens}}).ok());
  }
  Decision Decide(SessionState* state) const {
    Decision decision;
    EXPECT_TRUE(transformer_->Decide({state}, absl::MakeSpan(&decision, 1)).ok());
    return decision;
  }
  std::vector<TokenId> Tokens(int count) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < count; ++i) {
      tokens.push_back(4 + static_cast<TokenId>(random_() % (kVocabulary - 4)));
    }
    return tokens;
  }

  std::mt19937 random_{11};
  std::unique_ptr<Transformer> transformer_;
};

void ExpectSame(const Decision& one, const Decision& other) {
  EXPECT_EQ(one.best.id, other.best.id);
  EXPECT_EQ(one.best.log_prob, other.best.log_prob);
  EXPECT_EQ(one.second.id, other.second.id);
  EXPECT_EQ(one.attended, other.attended);
}

// Two sessions in one call: the steps, and what comes after them, are those made one by one.
TEST_P(VerifyTest, EqualsStepsOneByOne) {
  for (const bool refreshes : {false, true}) {
    if (refreshes && GetParam().causal_encoder) continue;
    std::vector<std::unique_ptr<SessionState>> fast, slow;
    for (int b = 0; b < 2; ++b) {
      fast.push_back(NewState(refreshes));
      slow.push_back(NewState(refreshes));
    }
    for (int round = 0; round < 40; ++round) {
      std::vector<std::vector<TokenId>> given(2);
      std::vector<std::vector<Decision>> decisions(2);
      std::vector<GivenRows> rows;
      for (int b = 0; b < 2; ++b) {
        const std::vector<TokenId> source = Tokens(1 + static_cast<int>(random_() % 3));
        Read(fast[b].get(), source);
        Read(slow[b].get(), source);
        const int forced = static_cast<int>(random_() % 3);
        given[b] = Tokens(forced);
        auto guess = *slow[b]->Clone();
        for (const TokenId token : given[b]) {
          Decide(guess.get());
          guess->Commit(token);
        }
        // Tokens that will be decided, up to a place.
        const int right = static_cast<int>(random_() % 4);
        for (int i = 0; i < right; ++i) {
          given[b].push_back(Decide(guess.get()).best.id);
          guess->Commit(given[b].back());
        }
        for (const TokenId token : Tokens(static_cast<int>(random_() % 3))) {
          given[b].push_back(token);
        }
        decisions[b].resize(given[b].size() + 1);
        const bool decides = forced < static_cast<int>(given[b].size()) || random_() % 2 == 0;
        rows.push_back({fast[b].get(), given[b], forced, decides, absl::MakeSpan(decisions[b])});
      }
      ASSERT_TRUE(transformer_->Verify(rows).ok());
      for (int b = 0; b < 2; ++b) {
        std::vector<Decision> expected(given[b].size() + 1);
        GivenRows row = rows[b];
        row.state = slow[b].get();
        row.decisions = absl::MakeSpan(expected);
        ASSERT_TRUE(transformer_->Translator::Verify({row}, [] {}).ok());
        ASSERT_EQ(fast[b]->target_written(), slow[b]->target_written());
        for (int i = row.forced; i <= static_cast<int>(given[b].size()); ++i) {
          if (i == static_cast<int>(given[b].size()) && !row.decides) break;
          ExpectSame(decisions[b][i], expected[i]);
          if (i < static_cast<int>(given[b].size()) && expected[i].best.id != given[b][i]) break;
        }
        // Some steps stay open, and are decided again with more source.
        if (random_() % 2 == 0) continue;
        ExpectSame(Decide(fast[b].get()), Decide(slow[b].get()));
        fast[b]->Commit(7);
        slow[b]->Commit(7);
      }
    }
  }
}

TEST_P(VerifyTest, ARefreshedPastIsThatOfAStateThatHasReadAllBefore) {
  if (GetParam().causal_encoder) return;
  auto state = NewState(/*refreshes=*/true);
  std::vector<TokenId> source, target;
  for (int round = 0; round < 12; ++round) {
    for (const TokenId token : Tokens(1 + round % 3)) {
      source.push_back(token);
      Read(state.get(), {token});
    }
    auto fresh = NewState();
    Read(fresh.get(), source);
    for (const TokenId token : target) {
      Decide(fresh.get());
      fresh->Commit(token);
    }
    auto copy = *state->Clone();
    const Decision decision = Decide(state.get());
    ExpectSame(decision, Decide(fresh.get()));
    ExpectSame(decision, Decide(copy.get()));
    ExpectSame(decision, Decide(state.get()));  // Nothing was read in between.
    for (int i = 0; i < 2; ++i) {
      target.push_back(Decide(state.get()).best.id);
      state->Commit(target.back());
    }
  }
}

TEST_P(VerifyTest, APrefixWithAnEndIsDecidedAsAWholeSource) {
  if (GetParam().causal_encoder) return;
  auto state = NewState(/*refreshes=*/true);
  state->EndPrefixes();
  std::vector<TokenId> source;
  for (int round = 0; round < 6; ++round) {
    source.push_back(Tokens(1)[0]);
    Read(state.get(), {source.back()});
    auto whole = NewState();
    std::vector<TokenId> ended = source;
    ended.push_back(kEndOfSentence);
    Read(whole.get(), ended);
    const Decision decision = Decide(state.get());
    EXPECT_EQ(decision.best.id, Decide(whole.get()).best.id);
    EXPECT_EQ(decision.best.log_prob, Decide(whole.get()).best.log_prob);
  }
  Read(state.get(), {kEndOfSentence});
  auto whole = NewState();
  source.push_back(kEndOfSentence);
  Read(whole.get(), source);
  EXPECT_EQ(Decide(state.get()).best.log_prob, Decide(whole.get()).best.log_prob);
}

TEST_P(VerifyTest, ShowsWhereAStepLooksIfItsAttentionIsSoftmax) {
  auto state = NewState();
  auto blind = *transformer_->NewState();
  for (int read = 1; read <= 9; ++read) {
    const TokenId token = Tokens(1)[0];
    Read(state.get(), {token});
    Read(blind.get(), {token});
    const Decision decision = Decide(state.get());
    const Decision other = Decide(blind.get());
    EXPECT_EQ(decision.best.log_prob, other.best.log_prob);
    EXPECT_EQ(other.attended, kNoSource);
    if (read == 1 || std::string(GetParam().attention) != "softmax") {
      EXPECT_EQ(decision.attended, kNoSource);
      continue;
    }
    EXPECT_GE(decision.attended, 0);
    EXPECT_LT(decision.attended, read - 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, VerifyTest,
                         testing::Values(Kind{"softmax", false}, Kind{"softmax", true},
                                         Kind{"leap", true}, Kind{"cosformer", false}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.attention,
                                               info.param.causal_encoder ? "_causal" : "");
                         });

TEST(SoftmaxAttentionTest, WeightsAreTheNaiveOnes) {
  constexpr int kHeads = 3, kWidth = 4, kPositions = 37;
  const SoftmaxAttention attention(std::make_unique<ScaledFeatures>(kHeads, kWidth), kHeads,
                                   kWidth);
  auto state = attention.NewState();
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> keys(kPositions * kHeads * kWidth), query(kHeads * kWidth);
  for (float& x : keys) x = normal(random);
  for (float& x : query) x = normal(random);
  Workspace scratch;
  std::vector<AttentionRow> rows;
  for (int p = 0; p < kPositions; ++p) rows.push_back({state.get(), p});
  attention.Append(keys.data(), keys.data(), rows, scratch);
  std::vector<float> sums;
  const std::vector<int> heads = {0, 2};
  ASSERT_EQ(attention.AddWeights(query.data(), {state.get(), 0}, heads, &sums, scratch),
            kPositions);
  std::vector<double> expected(kPositions);
  for (const int h : heads) {
    std::vector<double> weights;
    double sum = 0;
    for (int p = 0; p < kPositions; ++p) {
      double energy = 0;
      for (int i = 0; i < kWidth; ++i) {
        energy += query[h * kWidth + i] * keys[(p * kHeads + h) * kWidth + i];
      }
      weights.push_back(std::exp(energy / std::sqrt(static_cast<double>(kWidth))));
      sum += weights.back();
    }
    for (int p = 0; p < kPositions; ++p) expected[p] += weights[p] / sum;
  }
  for (int p = 0; p < kPositions; ++p) EXPECT_NEAR(sums[p], expected[p], 1e-5) << p;
}

}  // namespace
}  // namespace leapstream
