// BLEU and chrF against sacreBLEU's own results.
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "metrics/bleu.h"
#include "metrics/chrf.h"
#include "metrics/unicode.h"
#include "nlohmann/json.hpp"

namespace leapstream::metrics {
namespace {

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
    EXPECT_EQ(Tokenize13a(StripTrailingSpace(text)), pair[1]) << text;
  }
}

TEST(UnicodeTest, BytesThatAreNotUtf8AreKeptApart) {
  EXPECT_EQ(CodePoints("a\xFF\xC3").size(), 3u);
  EXPECT_EQ(CodePoints("\xC3\xA9"), U"\u00E9");
  EXPECT_EQ(SplitWords("\xE3\x80\x80 a\xC2\xA0 b").size(), 2u);
  EXPECT_EQ(StripTrailingSpace("a b\xE2\x80\xA8 "), "a b");
}

}  // namespace
}  // namespace leapstream::metrics
