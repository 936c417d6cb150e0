// BLEU and chrF, compared with sacreBLEU's own results.
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "base/scripts.h"
#include "metrics/bleu.h"
#include "metrics/chrf.h"
#include "metrics/unicode.h"
#include "nlohmann/json.hpp"

namespace leapstream::metrics {
namespace {

std::vector<std::string> Strings(const std::vector<absl::string_view>& views) {
  return {views.begin(), views.end()};
}

class QualityTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/simuleval/quality.json");
    golden_ = nlohmann::json::parse(file);
  }
  nlohmann::json golden_;
};

TEST_F(QualityTest, EqualsSacreBleu) {
  ASSERT_EQ(golden_.at("corpora").size(), 24u);
  for (const auto& corpus : golden_["corpora"]) {
    SCOPED_TRACE(corpus.at("name"));
    const auto translations = corpus.at("translations").get<std::vector<std::string>>();
    const auto references = corpus.at("references").get<std::vector<std::string>>();
    const BleuScore bleu = Bleu(translations, references);
    EXPECT_NEAR(bleu.score, corpus.at("bleu"), 1e-9);
    EXPECT_EQ(bleu.ToString(), corpus.at("bleu_line"));
    const double chrf = Chrf(translations, references);
    EXPECT_NEAR(chrf, corpus.at("chrf"), 1e-9);
    EXPECT_EQ(ChrfToString(chrf), corpus.at("chrf_line"));
  }
}

TEST_F(QualityTest, TokenizesAsSacreBleu) {
  for (const auto& pair : golden_.at("tokens")) {
    const std::string text = pair[0];
    EXPECT_EQ(Tokenize(BleuTokenizer::k13a, StripTrailingSpace(text)), pair[1]) << text;
  }
}

TEST(BleuTokenizerTest, EachIsSacreBleus) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/simuleval/tokenizers.json");
  const auto golden = nlohmann::json::parse(file);
  std::vector<std::string> translations, references, texts;
  for (const auto& pair : golden.at("pairs")) {
    translations.push_back(pair.at(0));
    references.push_back(pair.at(1));
    texts.insert(texts.end(), {translations.back(), references.back()});
  }
  ASSERT_EQ(golden.at("tokenizers").size(), 5u);
  for (const auto& row : golden["tokenizers"]) {
    const std::string name = row.at("tokenizer");
    SCOPED_TRACE(name);
    const auto tokenizer = BleuTokenizerOf(name);
    ASSERT_TRUE(tokenizer.has_value());
    EXPECT_EQ(BleuTokenizerName(*tokenizer), name);
    const BleuScore bleu = Bleu(translations, references, *tokenizer);
    EXPECT_NEAR(bleu.score, row.at("bleu"), 1e-9);
    EXPECT_EQ(bleu.ToString(), row.at("bleu_line"));
    ASSERT_EQ(row.at("tokens").size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string tokens = Tokenize(*tokenizer, StripTrailingSpace(texts[i]));
      EXPECT_EQ(nlohmann::json(Strings(SplitWords(tokens))), row["tokens"][i]) << texts[i];
    }
    for (size_t i = 0; i < translations.size(); ++i) {
      EXPECT_NEAR(Bleu({translations[i]}, {references[i]}, *tokenizer).score, row["segments"][i],
                  1e-9)
          << translations[i];
    }
  }
  for (const char* name : {"", "ja-mecab", "13A", "flores200"}) {
    EXPECT_FALSE(BleuTokenizerOf(name).has_value()) << name;
  }
}

TEST(UnicodeTest, KnowsWhatIsWrittenWithoutSpaces) {
  for (const char32_t c : U"中。、ー日ひカｶ，ไ່ກမខཀ𠮷") {
    // The text ends with a 0.
    EXPECT_EQ(IsOfScriptWithoutSpaces(c), c != 0) << std::hex << uint32_t{c};
  }
  for (const char32_t c : U" \u3000a1.ßжא한ㄱअ…’€😀") {
    EXPECT_FALSE(IsOfScriptWithoutSpaces(c)) << std::hex << uint32_t{c};
  }
  EXPECT_TRUE(AreWrittenWithoutSpaces({"他用 iPhone 15 打电话给我们的朋友们。"}));
  EXPECT_FALSE(AreWrittenWithoutSpaces({"The word 中文 means Chinese."}));
  EXPECT_FALSE(AreWrittenWithoutSpaces({}));
  EXPECT_TRUE(AreChinese({"我们的会议，2026年。"}));
  EXPECT_FALSE(AreChinese({"会議はひらがなで。"}));
  EXPECT_FALSE(AreChinese({"ภาษาไทย"}));
  EXPECT_FALSE(AreChinese({"Deutsch"}));
  EXPECT_TRUE(HaveAlmostNoSpaces({"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}));
  EXPECT_FALSE(HaveAlmostNoSpaces({"Donaudampfschifffahrtsgesellschaft ist ein langes Wort"}));
  EXPECT_FALSE(HaveAlmostNoSpaces({"", " "}));
}

TEST(UnicodeTest, BytesThatAreNotUtf8AreKeptApart) {
  EXPECT_EQ(CodePoints("a\xFF\xC3").size(), 3u);
  EXPECT_EQ(CodePoints("\xC3\xA9"), U"\u00E9");
  EXPECT_EQ(SplitWords("\xE3\x80\x80 a\xC2\xA0 b").size(), 2u);
  EXPECT_EQ(StripTrailingSpace("a b\xE2\x80\xA8 "), "a b");
  EXPECT_EQ(StripSpace("\xE3\x80\x80 a b\n"), "a b");
  EXPECT_EQ(StripSpace(" \n"), "");
  EXPECT_EQ(Strings(Characters("a\xC3\xA9\xFF")),
            (std::vector<std::string>{"a", "\xC3\xA9", "\xFF"}));
}

}  // namespace
}  // namespace leapstream::metrics
