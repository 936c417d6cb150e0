#include "streaming/text_source.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/budget.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Returns all complete words; an error ends the list as "ERROR: ...".
std::vector<std::string> Take(TextSource& source) {
  std::vector<std::string> words;
  while (true) {
    const absl::StatusOr<std::string> word = source.NextWord();
    if (!word.ok()) {
      words.push_back("ERROR: " + std::string(word.status().message()));
      return words;
    }
    if (word->empty()) return words;
    words.push_back(*word);
  }
}

std::vector<std::string> Words(absl::string_view text) {
  TextSource source;
  source.Append(text);
  source.Finish();
  return Take(source);
}

TEST(TextSourceTest, HoldsTheUnfinishedWord) {
  TextSource source;
  EXPECT_THAT(Take(source), IsEmpty());
  source.Append("Hello, wor");
  EXPECT_THAT(Take(source), ElementsAre("Hello,"));
  source.Append("ld");
  EXPECT_THAT(Take(source), IsEmpty());
  source.Append("\n");
  EXPECT_THAT(Take(source), ElementsAre("world"));
  source.Append(" end");
  source.Finish();
  EXPECT_THAT(Take(source), ElementsAre("end"));
  EXPECT_THAT(Take(source), IsEmpty());
}

TEST(TextSourceTest, NothingButSpace) {
  EXPECT_THAT(Words(""), IsEmpty());
  EXPECT_THAT(Words(" \t\r\n\v\f "), IsEmpty());
}

TEST(TextSourceTest, SpacesArePythons) {
  const std::vector<std::string> spaces = {
      "\t",           "\n",           "\v",           "\f",           "\r",
      "\x1C",         "\x1D",         "\x1E",         "\x1F",         " ",
      "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
      "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
      "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
      "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
  for (const std::string& space : spaces) {
    EXPECT_THAT(Words("a" + space + "b"), ElementsAre("a", "b")) << space;
  }
  // These are U+200B, U+FEFF, U+180E, U+001B and U+0000.
  const std::vector<std::string> others = {"\xE2\x80\x8B", "\xEF\xBB\xBF", "\xE1\xA0\x8E", "\x1B",
                                           std::string(1, '\0')};
  for (const std::string& other : others) {
    EXPECT_THAT(Words("a" + other + "b"), ElementsAre("a" + other + "b"));
  }
}

TEST(TextSourceTest, AnyChunkingGivesTheSameWords) {
  const std::vector<std::string> parts = {
      "a",  "word", " ",        "  ",      "\xC3\xA4", "\xE2\x80\x83", "\xF0\x9F\x98\x80",
      "\n", "\xFF", "\xE2\x80", "\xC2\xA0"};
  std::mt19937 random(11);
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    const bool valid = i % 2 == 0;
    for (int n = random() % 30; n > 0; --n) {
      std::string part = parts[random() % parts.size()];
      if (!valid || (part != "\xFF" && part != "\xE2\x80")) text += part;
    }
    const std::vector<std::string> expected = Words(text);
    TextSource source;
    std::vector<std::string> words;
    const auto take = [&] {
      for (std::string& word : Take(source)) {
        if (words.empty() || words.back() != word || word.substr(0, 5) != "ERROR") {
          words.push_back(std::move(word));
        }
      }
    };
    absl::string_view rest = text;
    while (!rest.empty()) {
      const size_t size = std::min<size_t>(rest.size(), random() % 4);
      source.Append(rest.substr(0, size));
      rest.remove_prefix(size);
      if (random() % 3 != 0) take();
    }
    source.Finish();
    take();
    ASSERT_EQ(words, expected) << text;
  }
}

TEST(TextSourceTest, NotUtf8) {
  const std::vector<std::string> bad = {"\x80",         "\xC0\x80",         "\xE0\x80\x80",
                                        "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80",
                                        "\xE2\x82",     "\xF0\x9F\x98"};
  for (const std::string& bytes : bad) {
    TextSource source;
    source.Append("fine xyz" + bytes + " more");
    EXPECT_THAT(Take(source), ElementsAre("fine", HasSubstr("offset 8 ")));
    source.Append(" more ");
    EXPECT_EQ(source.NextWord().status().code(), absl::StatusCode::kInvalidArgument);
    source.Reset();
    source.Append("good again");
    EXPECT_THAT(Take(source), ElementsAre("good"));
  }
}

TEST(TextSourceTest, OffsetsCountFromTheStartOfTheSegment) {
  TextSource source;
  for (int i = 0; i < 1000; ++i) {
    source.Append("12345678 ");
    EXPECT_THAT(Take(source), ElementsAre("12345678"));
  }
  source.Append("\xFF");
  EXPECT_THAT(Take(source), ElementsAre(HasSubstr("offset 9000 ")));
}

TEST(TextSourceTest, CharacterCutOffByFinish) {
  TextSource source;
  source.Append("a\xE2\x82");
  EXPECT_THAT(Take(source), IsEmpty());
  source.Finish();
  EXPECT_THAT(Take(source), ElementsAre(HasSubstr("offset 1 ")));
}

TEST(TextSourceTest, ALongWordComesInParts) {
  TextSource source;
  const std::string most(budget::kWordBytes, 'x');
  source.Append(most + " " + most + "y");
  EXPECT_THAT(Take(source), ElementsAre(most, most));
  source.Finish();
  EXPECT_THAT(Take(source), ElementsAre("y"));
  source.Reset();
  // The characters have two bytes each, so that none ends at the limit.
  std::string umlauts = "x";
  while (umlauts.size() < budget::kWordBytes - 1) umlauts += "\xC3\xA4";
  ASSERT_EQ(umlauts.size(), budget::kWordBytes - 1);
  source.Append(umlauts + "\xC3\xA4 ");
  EXPECT_THAT(Take(source), ElementsAre(umlauts, "\xC3\xA4"));
}

TEST(TextSourceTest, ALongWordIsCutAfterAMark) {
  for (const std::string mark : {"\xE3\x80\x82", "\xEF\xBC\x8C", "\xE0\xA5\xA4", ".", ","}) {
    TextSource source;
    const std::string first = std::string(600, 'x') + mark, early = "x" + mark;
    const std::string rest(500, 'y');
    source.Append(first + rest);
    source.Finish();
    EXPECT_THAT(Take(source), ElementsAre(first, rest));
    source.Reset();
    source.Append(early + std::string(budget::kWordBytes, 'y') + " ");
    const std::vector<std::string> words = Take(source);
    ASSERT_EQ(words.size(), 2u);
    EXPECT_EQ(words[0].size(), budget::kWordBytes) << "a mark so early leaves too many parts";
  }
}

// The pieces of such a word are given out while it grows, so its cut must not depend on the text
// that follows.
TEST(TextSourceTest, AWordWithoutSpacesIsCutAsSoonAsItsMarkIsThere) {
  std::string half;
  while (half.size() <= budget::kWordBytes / 2) half += "\xE6\xBC\xA2";  // U+6F22
  TextSource source;
  source.Append("\xE3\x80\x82" + half + "\xE3\x80\x82");
  EXPECT_THAT(Take(source), ElementsAre("\xE3\x80\x82" + half + "\xE3\x80\x82"));
  source.Append(half);
  EXPECT_THAT(Take(source), ElementsAre());
  EXPECT_EQ(source.beginning(), half);
  source.Append(half);
  const std::vector<std::string> words = Take(source);
  ASSERT_EQ(words.size(), 1u);
  EXPECT_EQ(words[0].size(), budget::kWordBytes / 3 * 3);
}

TEST(TextSourceTest, ScansNoMoreThanItMay) {
  TextSource source;
  source.Append(std::string(1000, ' ') + "word next");
  int64_t bytes = 400;
  EXPECT_EQ(*source.NextWord(&bytes), "");
  EXPECT_EQ(bytes, 0);
  bytes = 601;
  EXPECT_EQ(*source.NextWord(&bytes), "");
  EXPECT_EQ(bytes, 0);
  bytes = 100;
  EXPECT_EQ(*source.NextWord(&bytes), "word");
  EXPECT_EQ(bytes, 96);
  EXPECT_EQ(*source.NextWord(&bytes), "");
  EXPECT_EQ(bytes, 92) << "there is no more";
}

TEST(TextSourceTest, LongWordInSmallChunksIsLinear) {
  // Quadratic work would be 4e12 byte reads.
  TextSource source;
  size_t taken = 0;
  for (int i = 0; i < 2000000; ++i) {
    source.Append("x");
    taken += source.NextWord()->size();
  }
  source.Append(" ");
  EXPECT_EQ(taken + source.NextWord()->size(), 2000000u);
}

}  // namespace
}  // namespace leapstream
