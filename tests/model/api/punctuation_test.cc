#include "model/api/tokenizers/punctuation.h"

#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leapstream {
namespace {

TEST(PunctuationTest, EqualsTheReference) {
  std::ifstream in(
      absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/hugging_face/punctuation.tsv"));
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    const std::vector<std::string> parts = absl::StrSplit(line, '\t');
    ASSERT_EQ(3u, parts.size()) << line;
    EXPECT_EQ(parts[2], NormalizePunctuation(parts[1], parts[0], /*more=*/false)) << line;
  }
  EXPECT_EQ(400, lines);
}

// The rule by which a text that streams is normalised.
TEST(PunctuationTest, TextsThatDoNotJoinAreNormalisedOneByOne) {
  std::mt19937 random(3);
  const std::vector<std::string> parts = {"a", "1", "5", ".", ",", "\"", "'", "(", ")", "%", ":",
                                          ";", "!", "?", "`", "''", "–", "—", "「", "。", "（",
                                          "）", "，", "％", "\u200b", "<", "…", "½"};
  for (int n = 0; n < 20000; ++n) {
    std::vector<std::string> words;
    for (size_t i = 1 + random() % 5; i > 0; --i) {
      std::string word;
      for (size_t j = 1 + random() % 3; j > 0; --j) word += parts[random() % parts.size()];
      words.push_back(word);
    }
    const std::string language = n % 2 == 0 ? "en" : "ru";
    std::vector<std::string> groups;
    for (size_t i = 0; i < words.size(); ++i) {
      if (i > 0 && JoinsNext(groups.back(), words[i])) {
        absl::StrAppend(&groups.back(), " ", words[i]);
      } else {
        groups.push_back(words[i]);
      }
    }
    std::vector<std::string> normal;
    for (size_t i = 0; i < groups.size(); ++i) {
      const std::string text = NormalizePunctuation(groups[i], language, i + 1 < groups.size());
      if (!text.empty()) normal.push_back(text);
    }
    const std::string whole =
        NormalizePunctuation(absl::StrJoin(words, " "), language, /*more=*/false);
    const std::vector<std::string> expected = absl::StrSplit(whole, ' ', absl::SkipEmpty());
    const std::vector<std::string> found =
        absl::StrSplit(absl::StrJoin(normal, " "), ' ', absl::SkipEmpty());
    ASSERT_EQ(expected, found) << absl::StrJoin(words, " ");
  }
}

}  // namespace
}  // namespace leapstream
