#include "metrics/word_timing.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

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

// Words without pieces come without end, and must not be kept.
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
}

}  // namespace
}  // namespace leapstream::metrics
