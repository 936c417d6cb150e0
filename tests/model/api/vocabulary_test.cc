#include "model/api/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<Vocabulary> Parse(absl::string_view text) {
  return Vocabulary::Parse(text, "d.txt");
}

TEST(VocabularyTest, StartsWithFairseqsSymbols) {
  const auto vocabulary = Parse("\u2581the 10\n, 7\n");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->size(), 6);
  EXPECT_EQ(vocabulary->Id("<s>"), kBeginOfSentence);
  EXPECT_EQ(vocabulary->Id("<pad>"), kPadding);
  EXPECT_EQ(vocabulary->Id("</s>"), kEndOfSentence);
  EXPECT_EQ(vocabulary->Id("<unk>"), kUnknown);
  EXPECT_EQ(vocabulary->Id("\u2581the"), 4);
  EXPECT_EQ(vocabulary->Symbol(5), ",");
  EXPECT_EQ(vocabulary->Id("nothing"), kUnknown);
}

TEST(VocabularyTest, SplitsAtTheLastSpace) {
  const auto vocabulary = Parse("a b 10\n  3\r\nlast 1  ");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->Symbol(4), "a b");
  EXPECT_EQ(vocabulary->Symbol(5), " ");
  EXPECT_EQ(vocabulary->Symbol(6), "last");
}

TEST(VocabularyTest, RepeatedSymbolsNeedTheFlag) {
  const auto vocabulary = Parse("a 1\nb 1\na 1 #fairseq:overwrite\n<s> 1 #fairseq:overwrite\n");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->Id("a"), 6);
  EXPECT_EQ(vocabulary->Symbol(4), "a");
  EXPECT_EQ(vocabulary->Id("<s>"), 7);
  for (const char* bad : {"a 1\na 1\n", "<pad> 1\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(bad).status())) << bad;
  }
}

// fairseq's dictionary.py reads lines with Python's str.rstrip() and int().
TEST(VocabularyTest, StripsAndCountsAsPythonDoes) {
  const char* const lines[] = {"a 1\u00a0",
                               "a 1\u3000\u2028 \u2003\t",
                               "a 1\x1c\x1f\x0b\x0c",
                               "a 1_000",
                               "a +1",
                               "a -1",
                               "a \t1",
                               "a \u00a0\u0661\u0662",  // ARABIC-INDIC DIGITS
                               "a \u0967_\U0001d7ce",   // DEVANAGARI, MATHEMATICAL BOLD
                               "a 99999999999999999999999999",
                               "a 1\u00a0 #fairseq:overwrite\u3000"};
  for (const char* line : lines) {
    const auto vocabulary = Parse(line);
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
    EXPECT_EQ(vocabulary->Symbol(4), "a") << line;
  }
  for (const char* bad : {"a _1", "a 1_", "a 1__0", "a +-1", "a 1\u200b", "a \u00b2", "a 0x1",
                          "a 1e3", "a \u00bd", "a +", "a -", "a _", "a 1\t1", "a \ufeff1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(bad).status())) << bad;
  }
  // White space that is not at the end is part of the symbol.
  EXPECT_EQ(Parse("\u00a0a\u00a0 1")->Symbol(4), "\u00a0a\u00a0");
}

TEST(VocabularyTest, AnEmptyFileHasTheSpecialSymbols) {
  const auto vocabulary = Parse("");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->size(), 4);
  EXPECT_FALSE(vocabulary->has_repeats());
  EXPECT_TRUE(Parse("a 1\na 2 #fairseq:overwrite")->has_repeats());
}

TEST(VocabularyTest, NamesTheBadLine) {
  for (const char* bad : {"a 1\n\nb 1\n", "a 1\nb\n", "a 1\nb x\n", "a 1\nb 1.5\n", "a 1\nb \n",
                          "a 1\nb #fairseq:overwrite\n", "a 1\n\xff 1\n", "a 1\n\xed\xa0\x80 1\n",
                          "a 1\n\xc0\x80 1\n", "a 1\n\xe2\x96 1\n", "a 1\n\xf4\x90\x80\x80 1\n"}) {
    const auto vocabulary = Parse(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(vocabulary.status())) << bad;
    EXPECT_THAT(std::string(vocabulary.status().message()), HasSubstr("d.txt:2:")) << bad;
  }
  EXPECT_TRUE(absl::IsNotFound(Vocabulary::Load("/nonexistent/dict.txt").status()));
}

TEST(VocabularyTest, ReadsARealDictionary) {
  const auto vocabulary =
      Vocabulary::Load(LEAPSTREAM_SOURCE_DIR "/tests/golden/reference/data/joint/dict.en.txt");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->size(), 656);
  for (TokenId id = 0; id < vocabulary->size(); ++id) {
    EXPECT_EQ(vocabulary->Id(vocabulary->Symbol(id)), id);
  }
}

}  // namespace
}  // namespace leapstream
