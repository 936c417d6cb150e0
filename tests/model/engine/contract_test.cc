#include "model/engine/contract.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

// Looks at all tokens, in order.
Decision DecidedNaive(const TokenScores& scores) {
  std::vector<ScoredToken> best(2, {-1, -std::numeric_limits<float>::infinity()});
  for (size_t i = 0; i < scores.logits.size(); ++i) {
    const ScoredToken token = {static_cast<TokenId>(i), scores.log_prob(static_cast<TokenId>(i))};
    if (token.log_prob > best[0].log_prob) {
      best = {token, best[0]};
    } else if (token.log_prob > best[1].log_prob) {
      best[1] = token;
    }
  }
  Decision decision;
  decision.best = best[0];
  decision.second = best[1];
  return decision;
}

TEST(ContractTest, DecisionsAreThoseOfALookAtAllTokens) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 2);
  // Around a block, around the vocabularies that have larger blocks, and of NLLB-200.
  for (const size_t size : {2, 3, 511, 513, 6001, 256206, 512 * 1024, 512 * 1024 + 1}) {
    for (int repeat = 0; repeat < 12; ++repeat) {
      std::vector<float> logits(size);
      for (float& logit : logits) logit = normal(random);
      std::uniform_int_distribution<size_t> place(0, size - 1);
      if (repeat >= 3) {  // Logits that tie, or tie once they are log-probabilities.
        for (int i = 0; i < repeat; ++i) {
          logits[place(random)] = i % 2 == 0 ? 15.0f : std::nextafter(15.0f, 0.0f);
        }
      }
      const TokenScores scores = Scored(absl::MakeSpan(logits), /*temperature=*/1);
      const Decision expected = DecidedNaive(scores);
      for (const Decision& decision : {Decided(scores), DecidedFrom(logits)}) {
        EXPECT_EQ(decision.best.id, expected.best.id) << size << " " << repeat;
        EXPECT_EQ(decision.best.log_prob, expected.best.log_prob);
        EXPECT_EQ(decision.second.id, expected.second.id) << size << " " << repeat;
        EXPECT_EQ(decision.second.log_prob, expected.second.log_prob);
      }
    }
  }
}

TEST(ContractTest, ADecisionOfLogitsThatAreNotFiniteIsNotEither) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t place : {0, 700, 1999}) {
      std::vector<float> logits(2000, 0.5f);
      logits[place] = bad;
      EXPECT_FALSE(DecidedFrom(logits).finite()) << place;
      EXPECT_FALSE(Scored(absl::MakeSpan(logits), 1).finite()) << place;
    }
  }
}

}  // namespace
}  // namespace leapstream
