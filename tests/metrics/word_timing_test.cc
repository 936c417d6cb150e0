#include "metrics/word_timing.h"

#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "metrics/lagging.h"
#include "metrics/unicode.h"
#include "nlohmann/json.hpp"

namespace leapstream::metrics {
namespace {

using testing::ElementsAre;

std::vector<std::string> Texts(const std::vector<TimedWord>& words) {
  std::vector<std::string> texts;
  for (const TimedWord& word : words) texts.push_back(word.text);
  return texts;
}

TEST(SourceWordEndsTest, ATokenNeedsTheWordsUpToItsOwn) {
  const SourceWordEnds ends({2, 0, 1, 3});
  EXPECT_EQ(ends.words(), 4);
  EXPECT_EQ(ends.tokens(), 6);
  EXPECT_EQ(ends.WordsRead(0), 0);
  EXPECT_EQ(ends.WordsRead(1), 1);
  EXPECT_EQ(ends.WordsRead(2), 1);
  EXPECT_EQ(ends.WordsRead(3), 3);
  EXPECT_EQ(ends.WordsRead(6), 4);
  EXPECT_EQ(ends.WordsRead(7), 4);  // </s>
  EXPECT_EQ(SourceWordEnds().WordsRead(1), 0);
  const int tokens[] = {0, 2, 2, 3, 6};
  for (int words = 0; words <= 4; ++words) EXPECT_EQ(ends.tokens_of_first(words), tokens[words]);
}

// Words without pieces may come without end, and must not be kept.
TEST(SourceWordEndsTest, WordsWithoutTokensAreCounted) {
  SourceWordEnds ends({0, 0, 2});
  for (int i = 0; i < 100; ++i) ends.Add(0);
  ends.Add(1);
  EXPECT_EQ(ends.words(), 104);
  EXPECT_EQ(ends.WordsRead(1), 3);
  EXPECT_EQ(ends.WordsRead(3), 104);
  EXPECT_EQ(ends.tokens_of_first(2), 0);
  EXPECT_EQ(ends.tokens_of_first(50), 2);
}

TEST(TargetWordsTest, AWordIsCompleteWhenSpaceFollows) {
  TargetWords words;
  EXPECT_THAT(Texts(words.Append("Geb", 1, 0.1)), ElementsAre());
  EXPECT_THAT(Texts(words.Append("en", 2, 0.2)), ElementsAre());
  const std::vector<TimedWord> first = words.Append(" Sie", 3, 0.3);
  ASSERT_THAT(Texts(first), ElementsAre("Geben"));
  EXPECT_EQ(first[0].source_read, 3);
  EXPECT_EQ(first[0].elapsed, 0.3);
  EXPECT_THAT(Texts(words.Append(" a b ", 4, 0.4)), ElementsAre("Sie", "a", "b"));
  EXPECT_THAT(Texts(words.Finish(5, 0.5)), ElementsAre());
  words.Append("x\xC2\xA0y", 6, 0.6);  // U+00A0 is space to Python.
  EXPECT_THAT(Texts(words.Finish(7, 0.7)), ElementsAre("y"));
  words.Append("我们", 1, 0);
  EXPECT_THAT(Texts(words.Finish(2, 0)), ElementsAre("我们"));
}

TEST(TargetWordsTest, ACharacterOfAScriptWithoutSpacesIsAUnit) {
  TargetWords words(TargetUnit::kWordOrCharacter);
  EXPECT_THAT(Texts(words.Append("我们", 1, 0.1)), ElementsAre("我", "们"));
  EXPECT_THAT(Texts(words.Append("用 iPh", 2, 0.2)), ElementsAre("用"));
  const std::vector<TimedWord> mixed = words.Append("one的", 3, 0.3);
  EXPECT_THAT(Texts(mixed), ElementsAre("iPhone", "的"));
  EXPECT_EQ(mixed[0].source_read, 3);
  EXPECT_THAT(Texts(words.Append("\u3000。 ein Wort", 4, 0.4)), ElementsAre("。", "ein"));
  EXPECT_THAT(Texts(words.Finish(5, 0.5)), ElementsAre("Wort"));
  EXPECT_THAT(Texts(words.Finish(6, 0.6)), ElementsAre());
}

// The delays and the scores are SimulEval's.
TEST(TargetWordsTest, CharactersAreThoseOfSimulEval) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/simuleval/units.json");
  const auto golden = nlohmann::json::parse(file);
  std::vector<SegmentTiming> timings;
  ASSERT_EQ(golden.at("instances").size(), 4u);
  for (size_t i = 0; i < golden["instances"].size(); ++i) {
    const auto& instance = golden["instances"][i];
    TargetWords words(TargetUnit::kChar);
    std::string prediction;
    SegmentTiming timing;
    for (const auto& delta : golden.at("deltas").at(i)) {
      for (const TimedWord& unit : words.Append(delta.at(1).get<std::string>(), delta.at(0), 0)) {
        prediction += unit.text;
        timing.delays.push_back(unit.source_read);
      }
    }
    EXPECT_TRUE(words.Finish(0, 0).empty());
    EXPECT_EQ(prediction, instance.at("prediction"));
    EXPECT_EQ(nlohmann::json(timing.delays), instance.at("delays"));
    const std::string reference = instance.at("reference");
    timing.reference_length = static_cast<int>(Characters(StripSpace(reference)).size());
    EXPECT_EQ(timing.reference_length, instance.at("reference_length"));
    timing.source_length = instance.at("source_length");
    timings.push_back(timing);
  }
  const Lagging mean = MeanLagging(timings, /*computation_aware=*/false);
  const auto& scores = golden.at("scores");
  EXPECT_NEAR(mean.al, scores.at("AL"), 1e-9);
  EXPECT_NEAR(mean.laal, scores.at("LAAL"), 1e-9);
  EXPECT_NEAR(mean.ap, scores.at("AP"), 1e-9);
  EXPECT_NEAR(mean.dal, scores.at("DAL"), 1e-9);
  EXPECT_NEAR(mean.atd, scores.at("ATD"), 1e-9);
  EXPECT_NEAR(mean.start_offset, scores.at("StartOffset"), 1e-9);
  EXPECT_NEAR(mean.end_offset, scores.at("EndOffset"), 1e-9);
}

}  // namespace
}  // namespace leapstream::metrics
