#include "model/api/languages.h"

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Match(absl::string_view asked, const std::vector<std::string>& codes) {
  std::vector<std::string> found;
  for (const size_t place : MatchLanguage(asked, codes)) found.push_back(codes[place]);
  return found;
}

// The codes of each family of models in tests/golden/languages, with their BCP-47 tags.
std::map<std::string, std::vector<std::pair<std::string, std::string>>> Families() {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/languages/codes.txt");
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> families;
  std::string family, code, tag;
  while (file >> family >> code >> tag) families[family].emplace_back(code, tag);
  return families;
}

std::string WithHyphens(std::string text) {
  for (char& c : text) c = c == '_' ? '-' : c;
  return text;
}

std::string InCapitals(std::string text) {
  for (char& c : text) c = static_cast<char>(toupper(c));
  return text;
}

TEST(LanguagesTest, EveryCodeOfEveryModelIsReachableByItsNameAndByATag) {
  const auto families = Families();
  ASSERT_EQ(families.size(), 5u);
  EXPECT_EQ(families.at("nllb").size(), 202u);
  EXPECT_EQ(families.at("m2m100").size(), 100u);
  EXPECT_EQ(families.at("mbart50").size(), 52u);
  for (const auto& [family, pairs] : families) {
    SCOPED_TRACE(family);
    std::vector<std::string> codes;
    std::set<std::string> tags;
    for (const auto& [code, tag] : pairs) {
      codes.push_back(code);
      EXPECT_TRUE(tags.insert(tag).second) << tag << " stands for two";
    }
    for (const auto& [code, tag] : pairs) {
      for (const std::string& asked : {code, WithHyphens(code), InCapitals(code), tag,
                                       InCapitals(tag), WithHyphens(InCapitals(code))}) {
        EXPECT_THAT(Match(asked, codes), ElementsAre(code)) << asked;
      }
    }
  }
}

// A tag of one family means the same language in the others, if they have it.
TEST(LanguagesTest, TheFamiliesUnderstandEachOthersCodes) {
  const auto families = Families();
  for (const auto& [family, pairs] : families) {
    std::vector<std::string> codes;
    std::map<std::string, std::string> code_of;
    for (const auto& [code, tag] : pairs) {
      codes.push_back(code);
      code_of[tag] = code;
    }
    for (const auto& [other, others] : families) {
      for (const auto& [code, tag] : others) {
        const auto own = code_of.find(tag);
        if (own == code_of.end()) continue;
        EXPECT_THAT(Match(code, codes), ElementsAre(own->second)) << other << " in " << family;
      }
    }
  }
}

TEST(LanguagesTest, ScriptsAndRegions) {
  const std::vector<std::string> nllb = {"zho_Hans", "zho_Hant", "yue_Hant", "deu_Latn",
                                         "srp_Cyrl", "knc_Arab", "knc_Latn", "nob_Latn"};
  EXPECT_THAT(Match("zh", nllb), ElementsAre("zho_Hans"));
  EXPECT_THAT(Match("zh-CN", nllb), ElementsAre("zho_Hans"));
  EXPECT_THAT(Match("zh-TW", nllb), ElementsAre("zho_Hant"));
  EXPECT_THAT(Match("zh-Hant-HK", nllb), ElementsAre("zho_Hant"));
  EXPECT_THAT(Match("cmn-Hant", nllb), ElementsAre("zho_Hant"));
  EXPECT_THAT(Match("zh-yue", nllb), ElementsAre("yue_Hant"));
  EXPECT_THAT(Match("de-AT", nllb), ElementsAre("deu_Latn"));
  EXPECT_THAT(Match("de_DE", nllb), ElementsAre("deu_Latn"));
  EXPECT_THAT(Match("sr-Latn", nllb), IsEmpty()) << "another script than the model's";
  EXPECT_THAT(Match("kr", nllb), ElementsAre("knc_Latn"));
  EXPECT_THAT(Match("no", nllb), ElementsAre("nob_Latn"));
  // A code without a script is good for each of them.
  EXPECT_THAT(Match("sr-Latn", {"sr", "de"}), ElementsAre("sr"));
  EXPECT_THAT(Match("zh-Hant", {"zh"}), ElementsAre("zh"));
  EXPECT_THAT(Match("zho_Hant", {"zh_CN"}), IsEmpty());
  EXPECT_THAT(Match("zho_Hans", {"zh_CN"}), ElementsAre("zh_CN"));
  EXPECT_THAT(Match("en-US", {"en_XX", "de_DE"}), ElementsAre("en_XX"));
  // The region decides between several codes of one language.
  EXPECT_THAT(Match("pt-BR", {"pt_BR", "pt_PT"}), ElementsAre("pt_BR"));
  EXPECT_THAT(Match("pt", {"pt_BR", "pt_PT"}), ElementsAre("pt_BR", "pt_PT"));
  EXPECT_THAT(Match("pt", {"pt_BR", "pt"}), ElementsAre("pt"));
  // Codes may differ in case alone. An exact one is meant; otherwise it is not said which.
  EXPECT_THAT(Match("pt_BR", {"pt_br", "pt_BR"}), ElementsAre("pt_BR"));
  EXPECT_THAT(Match("pt_br", {"pt_br", "pt_BR"}), ElementsAre("pt_br"));
  EXPECT_THAT(Match("pt-BR", {"pt_br", "pt_BR", "pt"}), ElementsAre("pt_br", "pt_BR"));
}

TEST(LanguagesTest, NonsenseIsNoLanguage) {
  const std::vector<std::string> codes = {"eng_Latn", "deu_Latn"};
  for (const std::string& asked :
       {std::string(), std::string("_"), std::string("-Latn"), std::string("xx"),
        std::string("engl"), std::string("e"), std::string(30000, 'q'), std::string("\xff\xfe"),
        std::string("en\0g", 4)}) {
    EXPECT_THAT(Match(asked, codes), IsEmpty()) << asked.substr(0, 50);
    EXPECT_EQ(NearestLanguages(asked, codes, 5).size(), 2u);
  }
  EXPECT_THAT(Match("en", {}), IsEmpty());
}

TEST(LanguagesTest, TheNearestCodesComeFirst) {
  const std::vector<std::string> codes = {"fra_Latn", "deu_Latn", "zho_Hans", "eng_Latn"};
  EXPECT_THAT(NearestLanguages("due_Latn", codes, 1), ElementsAre("deu_Latn"));
  EXPECT_THAT(NearestLanguages("zh-Hant", codes, 1), ElementsAre("zho_Hans"));
  EXPECT_THAT(NearestLanguages("eng-Latin", codes, 1), ElementsAre("eng_Latn"));
}

}  // namespace
}  // namespace leapstream
