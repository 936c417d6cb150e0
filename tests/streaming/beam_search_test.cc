#include "streaming/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/match.h"
#include "streaming/segment_search.h"
#include "tests/streaming/some_scores.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

TokenScores Scores(const std::vector<float>& log_probs) {
  TokenScores scores;
  scores.logits = log_probs;
  return scores;
}

BeamTask Task(int vocabulary_size) {
  BeamTask task;
  task.source_length = 4;
  task.source_words = 3;
  task.vocabulary_size = vocabulary_size;
  return task;
}

// Tokens: <s> 0, <pad> 1, </s> 2, <unk> 3, then words from 4 on.
TEST(BeamSearchTest, TwoRowsByHand) {
  BeamOptions options;
  options.beam = 2;
  options.n_best = 2;
  BeamSearch search(options, Task(6));
  ASSERT_EQ(search.rows().size(), 1u);
  // </s> cannot win the first step, <pad> none.
  search.Take(0, Scores({-9, 0, 0, -8, -1, -2}));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 2u);
  EXPECT_EQ(search.rows()[0].token, 4);
  EXPECT_EQ(search.rows()[1].token, 5);
  // The </s> of row 1 is the best of all (-2.25) and ends a hypothesis; both rows go on as row 0.
  search.Take(0, Scores({-9, 0, -4, -8, -1.5f, -1.75f}));
  search.Take(1, Scores({-9, 0, -0.25f, -8, -3, -3}));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 2u);
  EXPECT_EQ(search.rows()[0].parent, 0u);
  EXPECT_EQ(search.rows()[0].token, 4);
  EXPECT_EQ(search.rows()[1].parent, 0u);
  EXPECT_EQ(search.rows()[1].token, 5);
  EXPECT_FALSE(search.done());
  // </s> of row 1 is behind two others: it is dropped, though there is room for it.
  search.Take(0, Scores({-9, 0, -9, -8, -1, -1.25f}));
  search.Take(1, Scores({-9, 0, -1.5f, -8, -9, -9}));
  search.Advance();
  EXPECT_FALSE(search.done());
  search.Take(0, Scores({-9, 0, -0.5f, -8, -9, -9}));
  search.Take(1, Scores({-9, 0, -9, -8, -1, -9}));
  search.Advance();
  ASSERT_TRUE(search.done());
  const std::vector<BeamHypothesis> result = search.Result();
  ASSERT_EQ(result.size(), 2u);
  // -1 - 1.5 - 1 - 0.5 over 4 tokens, and -2 - 0.25 over 2.
  EXPECT_EQ(result[0].ids, (std::vector<TokenId>{4, 4, 4, 2}));
  EXPECT_FLOAT_EQ(result[0].score, -1.0f);
  EXPECT_EQ(result[0].log_probs, (std::vector<float>{-1, -1.5f, -1, -0.5f}));
  EXPECT_EQ(result[1].ids, (std::vector<TokenId>{5, 2}));
  EXPECT_FLOAT_EQ(result[1].score, -1.125f);
}

TEST(BeamSearchTest, OfEqualCandidatesTheLowestRowAndIdIsFirst) {
  BeamOptions options;
  options.beam = 3;
  BeamSearch search(options, Task(40));
  std::vector<float> same(40, -1.0f);
  search.Take(0, Scores(same));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 3u);
  EXPECT_EQ(search.rows()[0].token, 0);  // <pad> is never written, </s> not first.
  EXPECT_EQ(search.rows()[1].token, 3);
  EXPECT_EQ(search.rows()[2].token, 4);
  // Sums tie whose parts do not: -1 - 1 in all rows.
  for (size_t row = 0; row < 3; ++row) search.Take(row, Scores(same));
  search.Advance();
  EXPECT_EQ(search.rows()[0].parent, 0u);
  EXPECT_EQ(search.rows()[0].token, 0);
  EXPECT_EQ(search.rows()[1].token, 3);
}

TEST(BeamSearchTest, AtTheMostTokensOnlyTheEndIsLeft) {
  BeamOptions options;
  options.beam = 2;
  options.n_best = 2;
  options.max_length_a = 0.5;
  options.max_length_b = 1;  // 0.5 * 4 + 1 = 3
  BeamSearch search(options, Task(8));
  EXPECT_EQ(search.max_length(), 3);
  int steps = 0;
  while (!search.done()) {
    const size_t rows = search.rows().size();
    for (size_t row = 0; row < rows; ++row) {
      search.Take(row, Scores({-9, -9, -50, -9, -1, -2, -3, -4}));
    }
    search.Advance();
    ASSERT_LT(++steps, 10);
  }
  for (const BeamHypothesis& hypothesis : search.Result()) {
    EXPECT_EQ(hypothesis.ids.size(), 4u);
    EXPECT_EQ(hypothesis.ids.back(), kEndOfSentence);
  }
  EXPECT_EQ(search.Result().size(), 2u);
}

TEST(BeamSearchTest, TheModelsLimitHoldsToo) {
  BeamTask task = Task(8);
  task.max_target_tokens = 2;
  EXPECT_EQ(BeamSearch(BeamOptions(), task).max_length(), 2);
}

TEST(BeamSearchTest, WhatWasWrittenStaysAndCountsForLengthsAndNgramsAlone) {
  BeamOptions options;
  options.beam = 2;
  options.no_repeat_ngram = 2;
  options.max_length_b = 4;
  BeamTask task = Task(8);
  task.written = {4, 5, 4};
  BeamSearch search(options, task);
  // 4 5 has been written, so that 5 cannot follow 4.
  search.Take(0, Scores({-9, -9, -7, -9, -9, -0.1f, -2, -3}));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 2u);
  EXPECT_EQ(search.rows()[0].token, 6);
  EXPECT_EQ(search.rows()[1].token, 7);
  for (size_t row = 0; row < 2; ++row) {
    search.Take(row, Scores({-9, -9, -1, -9, -0.1f, -0.1f, -0.1f, -0.1f}));
  }
  search.Advance();
  ASSERT_TRUE(search.done());  // Four tokens are written.
  const std::vector<BeamHypothesis> result = search.Result();
  ASSERT_EQ(result.size(), 1u);  // n_best.
  EXPECT_EQ(result[0].ids, (std::vector<TokenId>{6, 2}));
  EXPECT_FLOAT_EQ(result[0].score, -1.5f);
}

TEST(BeamSearchTest, ForcedTokensKeepTheirScores) {
  BeamOptions options;
  options.beam = 3;
  BeamTask task = Task(8);
  task.forced = {7};
  BeamSearch search(options, task);
  search.Take(0, Scores({-1, -1, -1, -1, -1, -1, -1, -5}));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 1u);  // Dead rows are left out.
  EXPECT_EQ(search.rows()[0].token, 7);
  search.Take(0, Scores({-9, -9, -1, -9, -9, -9, -9, -9}));
  search.Advance();
  EXPECT_FALSE(search.done());  // One of three has ended.
  EXPECT_EQ(search.rows().size(), 3u);
}

// Impossible and undefined scores do not come to anything.
TEST(BeamSearchTest, ScoresThatAreNoNumbersWinNothing) {
  BeamOptions options;
  options.beam = 2;
  BeamSearch search(options, Task(20));
  std::vector<float> scores(20, std::numeric_limits<float>::quiet_NaN());
  scores[19] = -3;
  scores[5] = kNever;
  search.Take(0, Scores(scores));
  search.Advance();
  ASSERT_EQ(search.rows().size(), 1u);
  EXPECT_EQ(search.rows()[0].token, 19);
  search.Take(0, Scores(std::vector<float>(20, kNever)));
  search.Advance();
  EXPECT_TRUE(search.done());
  EXPECT_TRUE(search.Result().empty());
}

// Take() looks at 16 logits at once; its twin at each, over the whole sorted list.
TEST(BeamSearchTest, TheBestOfARowAreThoseOfTheSortedRow) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    const int size = 5 + static_cast<int>(random() % 200);
    BeamOptions options;
    options.beam = 1 + static_cast<int>(random() % 8);
    options.min_length = static_cast<int>(random() % 2);
    options.unknown_penalty = static_cast<double>(random() % 3) - 1;
    TokenScores scores;
    std::vector<float> logits(size);
    for (float& logit : logits) logit = static_cast<float>(random() % 40) / 8;  // Many ties.
    scores.logits = logits;
    scores.most = *std::max_element(logits.begin(), logits.end());
    scores.log_sum = 1.25f;
    std::vector<std::pair<float, TokenId>> sorted;
    for (TokenId id = 0; id < size; ++id) {
      float value = scores.log_prob(id);
      if (id == kUnknown) value -= static_cast<float>(options.unknown_penalty);
      if (id == kPadding || (id == kEndOfSentence && options.min_length > 0)) continue;
      sorted.emplace_back(-value, id);
    }
    std::sort(sorted.begin(), sorted.end());
    BeamSearch search(options, Task(size));
    search.Take(0, scores);
    search.Advance();
    std::vector<TokenId> expected;
    const auto beam = static_cast<size_t>(std::min(options.beam, size - 1));
    for (size_t i = 0; i < std::min(sorted.size(), 2 * beam) && expected.size() < beam; ++i) {
      if (sorted[i].second != kEndOfSentence) expected.push_back(sorted[i].second);
    }
    std::vector<TokenId> found;
    for (const BeamSearch::Row& row : search.rows()) found.push_back(row.token);
    if (search.done()) continue;
    EXPECT_EQ(expected, found) << "trial " << trial;
  }
}

// Take() of some scores of a row either finds what Take() of all of them finds, or asks for all.
TEST(BeamSearchTest, SomeScoresOfARowGiveWhatAllGive) {
  std::mt19937 random(9);
  int enough = 0, too_few = 0;
  for (int trial = 0; trial < 100; ++trial) {
    const int size = 100 + static_cast<int>(random() % 200);
    // Few values give ties at the last candidate, many values give hardly any.
    const unsigned values = trial % 2 == 0 ? 40 : 1 << 20;
    BeamOptions options;
    options.beam = 1 + static_cast<int>(random() % 8);
    options.min_length = static_cast<int>(random() % 3);
    options.no_repeat_ngram = trial % 3 == 0 ? 2 : 0;
    options.unknown_penalty = static_cast<double>(random() % 3) - 1;
    BeamTask task = Task(size);
    if (trial % 5 == 0) task.forced = {7, 9};
    BeamSearch fast(options, task);
    BeamSearch slow(options, task);
    for (int step = 0; step < 6 && !slow.done(); ++step) {
      for (size_t row = 0; row < slow.rows().size(); ++row) {
        std::vector<float> logits(static_cast<size_t>(size));
        for (float& logit : logits) {
          logit = 8 * static_cast<float>(random() % values) / static_cast<float>(values);
        }
        TokenScores scores;
        scores.logits = logits;
        scores.most = *std::max_element(logits.begin(), logits.end());
        scores.log_sum = 1.25f;
        const SomeScores some(scores, fast.wanted());
        if (fast.Take(row, some.scores())) {
          ++enough;
        } else {
          ++too_few;
          ASSERT_TRUE(fast.Take(row, scores));
        }
        ASSERT_TRUE(slow.Take(row, scores));
      }
      fast.Advance();
      slow.Advance();
      ASSERT_EQ(fast.rows().size(), slow.rows().size()) << trial;
      for (size_t row = 0; row < slow.rows().size(); ++row) {
        ASSERT_EQ(fast.rows()[row].token, slow.rows()[row].token) << trial << " " << step;
        ASSERT_EQ(fast.rows()[row].parent, slow.rows()[row].parent) << trial << " " << step;
      }
    }
    ASSERT_EQ(fast.done(), slow.done());
    if (!slow.done()) continue;
    ASSERT_EQ(fast.Result().size(), slow.Result().size());
    for (size_t h = 0; h < slow.Result().size(); ++h) {
      EXPECT_EQ(fast.Result()[h].ids, slow.Result()[h].ids);
      EXPECT_EQ(fast.Result()[h].score, slow.Result()[h].score);
    }
  }
  EXPECT_GT(enough, 300);
  EXPECT_GT(too_few, 30);
}

TEST(BeamOptionsTest, ErrorsNameTheRangeAndTheValue) {
  const auto message = [](BeamOptions options) {
    return std::string(CheckBeamOptions(options).message());
  };
  EXPECT_TRUE(CheckBeamOptions(BeamOptions()).ok());
  BeamOptions options;
  options.beam = 65;
  EXPECT_TRUE(absl::StrContains(message(options), "beam in [1, 64], got 65"));
  options = {};
  options.n_best = 6;
  EXPECT_TRUE(absl::StrContains(message(options), "n_best in [1, 5] (the beam), got 6"));
  options = {};
  options.no_repeat_ngram = 1;
  EXPECT_TRUE(absl::StrContains(message(options), "0 or in [2, 64], got 1"));
  options = {};
  options.temperature = 0;
  EXPECT_TRUE(absl::StrContains(message(options), "temperature in [0.001, 1000], got 0"));
  options = {};
  options.length_penalty = std::nan("");
  EXPECT_FALSE(CheckBeamOptions(options).ok());
  options = {};
  options.max_length_b = 0;
  EXPECT_TRUE(absl::StrContains(message(options), "max_length_a or max_length_b above 0"));
  options = {};
  options.min_length = 201;
  EXPECT_TRUE(absl::StrContains(message(options), "min_length in [0, 200]"));
}

// With a model whose state is a hash of all tokens, a state of another row shows at once.
TEST(SegmentSearchTest, EachRowHasTheStateOfItsTokens) {
  const auto model = FakeModel();
  const Translator& translator = *model->translator;
  auto state = *translator.NewState();
  const std::vector<TokenId> source = {9, 11, 5, 7, 2};
  ASSERT_TRUE(translator.Read({SourceRows{state.get(), source}}).ok());
  BeamOptions options;
  options.beam = 4;
  options.n_best = 4;
  BeamTask task = Task(model->target_vocabulary.size());
  auto search = *SegmentSearch::Begin(*state, options, task);
  BeamSearch slow(options, task);
  std::vector<std::vector<TokenId>> rows(1);
  while (!search->done()) {
    const auto take = [&](size_t row, const TokenScores& scores) {
      return search->Take(row, scores);
    };
    ASSERT_TRUE(translator.Score(search->rows(), take).ok());
    ASSERT_TRUE(search->Advance().ok());
    for (size_t r = 0; r < rows.size(); ++r) {
      auto fresh = *translator.NewState();
      ASSERT_TRUE(translator.Read({SourceRows{fresh.get(), source}}).ok());
      for (const TokenId token : rows[r]) fresh->Commit(token);
      const auto slow_take = [&](size_t, const TokenScores& scores) {
        return slow.Take(r, scores);
      };
      ASSERT_TRUE(translator.Score({ScoreRow{fresh.get()}}, slow_take).ok());
    }
    slow.Advance();
    std::vector<std::vector<TokenId>> next;
    for (const BeamSearch::Row& row : slow.rows()) {
      next.push_back(rows[row.parent]);
      next.back().push_back(row.token);
    }
    rows = std::move(next);
  }
  EXPECT_TRUE(slow.done());
  const auto found = search->search().Result();
  const auto expected = slow.Result();
  ASSERT_EQ(found.size(), expected.size());
  for (size_t h = 0; h < found.size(); ++h) EXPECT_EQ(found[h].ids, expected[h].ids);
  EXPECT_EQ(state->target_written(), 0);  // The segment's own state is as it was.
}

}  // namespace
}  // namespace leapstream
