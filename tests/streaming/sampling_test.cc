#include "streaming/sampling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "streaming/stop_sequences.h"
#include "tests/streaming/some_scores.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;

// Logits of a vocabulary, and the plain formulas.
struct Step {
  explicit Step(std::vector<float> values) : logits(std::move(values)) {
    scores.logits = logits;
    scores.most = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit} - scores.most);
    scores.log_sum = static_cast<float>(std::log(sum));
  }
  // Each token's probability: the soft-max of logits / temperature over the best `top_k`, of which
  // the best are kept whose probabilities reach top_p, all computed by sorting.
  std::map<TokenId, double> Probabilities(const Sampling& sampling) const {
    std::vector<TokenId> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(),
                     [this](TokenId a, TokenId b) { return logits[a] > logits[b]; });
    if (sampling.top_k > 0 && ids.size() > static_cast<size_t>(sampling.top_k)) {
      ids.resize(sampling.top_k);
    }
    const auto normalised = [&] {
      std::map<TokenId, double> all;
      double sum = 0;
      for (const TokenId id : ids) sum += all[id] = std::exp(logits[id] / sampling.temperature);
      for (auto& [id, p] : all) p /= sum;
      return all;
    };
    std::map<TokenId, double> all = normalised();
    double sum = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      sum += all[ids[i]];
      if (sum < sampling.top_p) continue;
      ids.resize(i + 1);
      return normalised();
    }
    return all;
  }

  std::vector<float> logits;
  TokenScores scores;
};

Step SomeStep(size_t vocabulary) {
  std::vector<float> logits;
  for (size_t i = 0; i < vocabulary; ++i) {
    logits.push_back(3 * static_cast<float>(std::sin(static_cast<double>(i * i) * 0.37)));
  }
  return Step(logits);
}

TEST(SamplingTest, TheBestTokenIsThatOfTheScoresAndTiesGoToTheLowestId) {
  const Step step({1, 5, 5, 2, 5});
  EXPECT_EQ(ChooseToken(step.scores, {}, {}, 0.9)->id, 1);
  EXPECT_EQ(ChooseToken(step.scores, {}, {1}, 0.9)->id, 2);
  EXPECT_EQ(ChooseToken(step.scores, {}, {1, 2, 4}, 0.9)->id, 3);
  EXPECT_FLOAT_EQ(ChooseToken(step.scores, {}, {1}, 0)->log_prob, step.scores.log_prob(2));
}

// Walks the uniform number through [0, 1): each token has the part of it that is its probability.
TEST(SamplingTest, EachTokenHasItsProbability) {
  constexpr int kSteps = 1000;
  for (const size_t vocabulary : {5, 300}) {
    const Step step = SomeStep(vocabulary);
    for (const Sampling& sampling :
         {Sampling{1, 0, 1, 0}, {0.5, 0, 1, 0}, {2, 7, 1, 0}, {1, 0, 0.6, 0}, {1.5, 100, 0.8, 0},
          {1, 1, 1, 0}, {1, 0, 1e-9, 0}}) {
      std::map<TokenId, double> seen;
      for (int i = 0; i < kSteps; ++i) {
        const ScoredToken token = *ChooseToken(step.scores, sampling, {}, (i + 0.5) / kSteps);
        seen[token.id] += 1.0 / kSteps;
        ASSERT_EQ(token.log_prob, step.scores.log_prob(token.id));
      }
      const std::map<TokenId, double> expected = step.Probabilities(sampling);
      for (const auto& [id, p] : expected) EXPECT_NEAR(seen[id], p, 1.5 / kSteps) << id;
      for (const auto& entry : seen) EXPECT_EQ(expected.count(entry.first), 1u) << entry.first;
    }
  }
}

// With all logits alike every token is needed, and ties go to the lowest ids.
TEST(SamplingTest, TiesOfTheLimitsGoToTheLowestIds) {
  const Step step(std::vector<float>(1000, 0.5F));
  for (const Sampling& sampling : {Sampling{1, 10, 1, 0}, {3, 0, 0.0095, 0}}) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(ChooseToken(step.scores, sampling, {}, (i + 0.5) / 10)->id, i);
    }
  }
}

// Some scores give the token that all of them give, or none.
TEST(SamplingTest, SomeScoresGiveTheTokenOfAllScores) {
  std::mt19937 random(3);
  const Sampling samplings[] = {{},
                                {1, 40, 1, 0},
                                {0.7, 0, 0.9, 0},
                                {1, 0, 0.95, 0},
                                {1.3, 20, 0.8, 0},
                                {1, 0, 0.5, 0},
                                {0.001, 0, 0.99, 0},
                                {1, 1, 1, 0},
                                {4, 0, 0.999, 0},
                                {1, 0, 1, 0}};
  std::vector<int> chosen(std::size(samplings)), asked(std::size(samplings));
  for (int trial = 0; trial < 60; ++trial) {
    // Some have ties, some a token far ahead, which may be excluded.
    std::vector<float> logits(3000);
    for (float& logit : logits) {
      logit = static_cast<float>(random() % (trial % 2 == 0 ? 1 << 20 : 60));
      logit *= 12.0f / (trial % 2 == 0 ? 1 << 20 : 60);
      if (trial % 2 == 0) logit *= logit / 6;
    }
    logits[2] = static_cast<float>(random() % 60);
    const Step step(logits);
    const std::vector<TokenId> excluded =
        trial % 4 < 2 ? std::vector<TokenId>{1, 2} : std::vector<TokenId>{1};
    for (size_t s = 0; s < std::size(samplings); ++s) {
      const double uniform = static_cast<double>(random()) / 4294967296.0;
      const SomeScores some(step.scores, WantedToChoose(samplings[s], excluded, uniform));
      const auto token = ChooseToken(some.scores(), samplings[s], excluded, uniform);
      const auto expected = ChooseToken(step.scores, samplings[s], excluded, uniform);
      ASSERT_TRUE(expected.has_value());
      ++(token.has_value() ? chosen : asked)[s];
      if (!token.has_value()) continue;
      EXPECT_EQ(token->id, expected->id) << trial << " " << s;
      EXPECT_EQ(token->log_prob, expected->log_prob) << trial << " " << s;
    }
  }
  for (size_t s = 0; s < std::size(samplings); ++s) {
    if (s == 8) continue;  // It needs nearly all tokens.
    EXPECT_GT(chosen[s], 15) << s;
  }
  for (const size_t s : {0, 1, 4, 7, 8}) EXPECT_GT(asked[s], 3) << s;
}

// In bfloat16 logits from 8 to 16 are multiples of 1/16. Those of tokens that are about equally
// likely are equal then, but the last one that is kept is rarely as the last one that is shown.
TEST(SamplingTest, SomeScoresAreEnoughIfManyLogitsAreEqual) {
  constexpr int kTrials = 20;
  std::mt19937 random(11);
  for (const int top_k : {250, 1000}) {
    int asked = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::vector<float> logits(30000);
      for (float& logit : logits) {  // The token of rank r has a probability of about 1 / r.
        const double part = (static_cast<double>(random()) + 1) / 4294967296.0;
        logit = static_cast<float>(std::round((5 - std::log(part)) * 16) / 16);
      }
      const Step step(logits);
      const Sampling sampling = {1, top_k, 1, 0};
      const double uniform = (trial + 0.5) / kTrials;
      const SomeScores some(step.scores, WantedToChoose(sampling, {}, uniform));
      const auto token = ChooseToken(some.scores(), sampling, {}, uniform);
      asked += token.has_value() ? 0 : 1;
      if (!token.has_value()) continue;
      EXPECT_EQ(token->id, ChooseToken(step.scores, sampling, {}, uniform)->id);
    }
    EXPECT_LT(asked, kTrials / 4) << top_k;
  }
}

// A device shows powers of two.
TEST(SamplingTest, ANucleusIsLookedForInFewTokens) {
  EXPECT_LE(WantedToChoose({1, 0, 0.9, 0}, {1, 2}, 0.5).best, 1024);
}

TEST(SamplingTest, ExcludedTokensAreNeverDrawn) {
  const Step step = SomeStep(50);
  for (int i = 0; i < 1000; ++i) {
    const TokenId id = ChooseToken(step.scores, {3, 0, 1, 0}, {2, 7, 11}, i / 1000.0)->id;
    EXPECT_TRUE(id != 2 && id != 7 && id != 11);
  }
}

TEST(SamplingTest, TheUniformNumberDependsOnSeedAndPlaceAndIsSpread) {
  EXPECT_EQ(UniformAt(1, 2), UniformAt(1, 2));
  EXPECT_NE(UniformAt(1, 2), UniformAt(2, 2));
  EXPECT_NE(UniformAt(1, 2), UniformAt(1, 3));
  std::vector<int> parts(10);
  for (int i = 0; i < 10000; ++i) {
    const double u = UniformAt(i % 7, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++parts[static_cast<size_t>(u * 10)];
  }
  for (const int part : parts) EXPECT_NEAR(part, 1000, 150);  // Five deviations.
}

TEST(SamplingTest, NumbersOutOfRangeAreRefused) {
  EXPECT_TRUE(CheckSampling({}).ok());
  EXPECT_TRUE(CheckSampling({1, 5, 0.5, 3}).ok());
  for (const Sampling& odd : {Sampling{-1, 0, 1, 0}, {1, -1, 1, 0}, {1, 0, 0, 0}, {1, 0, 1.1, 0},
                              {std::nan(""), 0, 1, 0}, {1, 0, std::nan(""), 0}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckSampling(odd)));
  }
}

// Any chunking of the text gives the text before the first sequence, and no more is ever given out.
TEST(StopSequencesTest, AnyChunkingEndsAtTheSamePlace) {
  const std::string text = "aab aaab\nabc END more END";
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"aaab"}, "aab "},   {{"END", "abc"}, "aab aaab\n"},    {{"aaaab"}, text},
      {{"b\n", "\n"}, "aab aaa"}, {{"more END!", "END m"}, "aab aaab\nabc "}};
  for (const auto& [sequences, expected] : cases) {
    for (size_t size = 1; size <= text.size(); ++size) {
      StopSequences stop(sequences);
      std::string given;
      for (size_t begin = 0; begin < text.size(); begin += size) {
        given += stop.Append(text.substr(begin, size));
        ASSERT_EQ(expected.compare(0, given.size(), given), 0);
      }
      given += stop.Finish();
      EXPECT_EQ(given, expected) << size;
      EXPECT_EQ(stop.found(), expected != text);
    }
  }
}

// The best token is far ahead, but must not be taken: the weights of the others must not all be 0.
TEST(SamplingTest, AnExcludedBestTokenLeavesTheOthersTheirOrder) {
  const Step step({3.0f, 1.5f, 2.0f, 0.5f});
  Sampling sampling;
  sampling.temperature = 0.001;
  for (const double uniform : {0.0, 0.5, 0.999}) {
    EXPECT_EQ(ChooseToken(step.scores, sampling, {0}, uniform)->id, 2) << uniform;
  }
}

}  // namespace
}  // namespace leapstream
