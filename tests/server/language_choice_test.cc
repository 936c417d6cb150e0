#include "server/language_choice.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/metrics.h"
#include "server/served_models.h"
#include "server/status_mapping.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Model> OnePair(const std::string& source, const std::string& target) {
  FakeModelOptions fake;
  fake.name = source + "-" + target;
  fake.source_language = source;
  fake.target_language = target;
  return FakeModel(fake);
}

std::shared_ptr<const Model> Many(const std::string& name, const std::string& source = "",
                                  const std::string& target = "") {
  FakeModelOptions fake;
  fake.name = name;
  fake.source_language = source;
  fake.target_language = target;
  fake.frame = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  for (const char* code : {"eng_Latn", "deu_Latn", "zho_Hans", "zho_Hant", "fra_Latn"}) {
    fake.symbols.push_back(absl::StrCat("__", code, "__"));
    fake.languages.push_back({code, fake.symbols.back(), fake.symbols.back()});
  }
  fake.symbols.push_back("__pt__");
  fake.languages.push_back({"pt_BR", "__pt__", "__pt__"});
  fake.languages.push_back({"pt_PT", "__pt__", ""});
  return FakeModel(fake);
}

class LanguageChoiceTest : public testing::Test {
 protected:
  // "MODEL SOURCE TARGET", or the error's reason and message.
  static std::string Find(std::vector<std::shared_ptr<const Model>> models,
                          const ModelRequest& request) {
    Metrics metrics;
    const auto served = ServedModels::Create(std::move(models), 1, &metrics);
    EXPECT_TRUE(served.ok()) << served.status();
    const auto found = (*served)->Find(request);
    if (!found.ok()) {
      return absl::StrCat(ReasonOf(found.status()), ": ", found.status().message());
    }
    return absl::StrCat(found->scheduler->model()->info.name, " ", found->languages.source, " ",
                        found->languages.target);
  }
};

TEST_F(LanguageChoiceTest, TheKindOfSourceChoosesAmongModels) {
  FakeModelOptions fake;
  fake.name = "speech";
  fake.speech = true;
  const auto speech = FakeModel(fake), text = OnePair("en", "de");
  ModelRequest request;
  EXPECT_EQ(Find({speech, text}, request), "en-de en de");
  request.speech = true;
  EXPECT_EQ(Find({speech, text}, request), "speech en de");
  request.name = "en-de";
  EXPECT_EQ(Find({speech, text}, request), "en-de en de") << "a name says more; an error follows";
  request.name = "";
  EXPECT_EQ(Find({text}, request), "en-de en de");
  EXPECT_EQ(Find({speech, text, OnePair("fr", "de")}, request), "speech en de");
  request.speech = false;
  EXPECT_THAT(Find({speech, text, OnePair("fr", "de")}, request),
              HasSubstr("MODEL_AMBIGUOUS: several models translate (any) to (any); name one of: "
                        "en-de, fr-de"));
}

TEST_F(LanguageChoiceTest, ASessionChoosesByTagsOrByTheModelsOwnCodes) {
  const auto nllb = Many("nllb");
  for (const auto& [source, target] : std::vector<std::pair<std::string, std::string>>{
           {"en", "de"}, {"eng_Latn", "deu_Latn"}, {"EN-gb", "de_DE"}, {"eng", "deu-latn"}}) {
    EXPECT_EQ(Find({nllb}, {"", source, target}), "nllb eng_Latn deu_Latn") << source;
    EXPECT_EQ(Find({nllb}, {"nllb", source, target}), "nllb eng_Latn deu_Latn") << source;
  }
  EXPECT_EQ(Find({nllb}, {"", "zh-TW", "zh"}), "nllb zho_Hant zho_Hans");
  EXPECT_EQ(Find({nllb}, {"", "pt-PT", "pt"}), "nllb pt_PT pt_BR") << "pt_PT is no target";
}

TEST_F(LanguageChoiceTest, AModelOfManyPairsNeedsCodesUnlessItHasADefault) {
  EXPECT_THAT(Find({Many("nllb")}, {}), HasSubstr("LANGUAGE_MISMATCH: model nllb translates from 7 "
                                                  "languages, so that source_language_code must "
                                                  "name one, such as eng_Latn"));
  EXPECT_THAT(Find({Many("nllb")}, {"nllb", "en", ""}), HasSubstr("target_language_code"));
  EXPECT_EQ(Find({Many("nllb", "eng_Latn", "deu_Latn")}, {}), "nllb eng_Latn deu_Latn");
  EXPECT_EQ(Find({Many("nllb", "eng_Latn", "deu_Latn")}, {"", "", "fr"}), "nllb eng_Latn fra_Latn");
}

TEST_F(LanguageChoiceTest, AWrongCodeIsAnsweredWithTheNearestOnes) {
  const std::string wrong = Find({Many("nllb")}, {"", "en", "due_Latn"});
  EXPECT_THAT(wrong, HasSubstr("LANGUAGE_MISMATCH"));
  EXPECT_THAT(wrong, HasSubstr("not \"due_Latn\"; the nearest are deu_Latn"));
  EXPECT_THAT(wrong, HasSubstr("ListModels has all"));
  EXPECT_THAT(Find({Many("nllb")}, {"", "pt", "en"}),
              HasSubstr("\"pt\" does not say which of pt_BR, pt_PT"));
  EXPECT_LT(Find({Many("nllb")}, {"", "en", std::string(30000, 'q')}).size(), 600u);
  EXPECT_THAT(Find({Many("nllb"), OnePair("en", "de")}, {"", "en", "xx"}),
              HasSubstr("MODEL_NOT_FOUND: no model translates \"en\" to \"xx\""));
}

TEST_F(LanguageChoiceTest, AModelOfJustThePairComesFirst) {
  const std::vector<std::shared_ptr<const Model>> models = {Many("nllb"), OnePair("en", "de")};
  EXPECT_EQ(Find(models, {"", "en", "de"}), "en-de en de");
  EXPECT_EQ(Find(models, {"", "eng_Latn", "deu_Latn"}), "en-de en de");
  EXPECT_EQ(Find(models, {"", "de", "en"}), "nllb deu_Latn eng_Latn");
  EXPECT_EQ(Find(models, {"nllb", "en", "de"}), "nllb eng_Latn deu_Latn");
  EXPECT_THAT(Find({Many("a"), Many("b")}, {"", "en", "de"}), HasSubstr("MODEL_AMBIGUOUS"));
  // Without a whole pair no model comes before another.
  EXPECT_THAT(Find({Many("nllb", "eng_Latn", "deu_Latn"), OnePair("en", "de")}, {"", "", "de"}),
              HasSubstr("MODEL_AMBIGUOUS"));
}

TEST_F(LanguageChoiceTest, AModelOfOnePairIsWhatItWas) {
  const auto one = OnePair("en", "de-AT");
  EXPECT_EQ(Find({one}, {}), "en-de-AT en de-AT");
  EXPECT_EQ(Find({one}, {"", "EN-GB", "de"}), "en-de-AT en de-AT");
  EXPECT_EQ(Find({one}, {"en-de-AT", "eng", "deu_Latn"}), "en-de-AT en de-AT");
  EXPECT_THAT(Find({one}, {"en-de-AT", "de", "en"}), HasSubstr("LANGUAGE_MISMATCH"));
  EXPECT_THAT(Find({one}, {"", "de", "en"}), HasSubstr("MODEL_NOT_FOUND"));
}

}  // namespace
}  // namespace leapstream
