#include "model/api/frame.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/api/model.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kDictionary[] = "a 1\nb 1\n__en__ 1\n__de__ 1\n[en_XX] 1\n[de_DE] 1\n";

const Vocabulary& Dictionary() {
  static const auto& vocabulary = *new Vocabulary(*Vocabulary::Parse(kDictionary, "d"));
  return vocabulary;
}

absl::StatusOr<Frame> Resolve(const FrameConfig& config, const LanguageConfig* source,
                              const LanguageConfig* target) {
  return ResolveFrame(config, source, target, &Dictionary(), Dictionary());
}

// The frames of fairseq's tasks.
TEST(FrameTest, TheFrameOfEachTask) {
  const LanguageConfig en = {"en", "__en__", "__en__"}, de = {"de", "__de__", "__de__"};
  const LanguageConfig en_xx = {"en_XX", "[en_XX]", "[en_XX]"};
  const LanguageConfig de_de = {"de_DE", "[de_DE]", "[de_DE]"};
  const auto translation = Resolve({}, nullptr, nullptr);
  ASSERT_TRUE(translation.ok()) << translation.status();
  EXPECT_TRUE(*translation == Frame());

  // translation_multi_simple_epoch, --encoder-langtok src, --decoder-langtok.
  const FrameConfig multi = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  const auto m2m = Resolve(multi, &en, &de);
  ASSERT_TRUE(m2m.ok()) << m2m.status();
  EXPECT_THAT(m2m->source_lead, ElementsAre(6));
  EXPECT_THAT(m2m->source_tail, ElementsAre(kEndOfSentence));
  EXPECT_EQ(m2m->start, kEndOfSentence);
  EXPECT_THAT(m2m->forced, ElementsAre(7));
  EXPECT_EQ(m2m->end, kEndOfSentence);

  // --encoder-langtok tgt: the source begins with the target's language.
  const auto to = Resolve({{"{target}"}, {"</s>"}, "</s>", {}, "</s>"}, &en, &de);
  ASSERT_TRUE(to.ok());
  EXPECT_THAT(to->source_lead, ElementsAre(7));

  // --lang-tok-replacing-bos-eos.
  const auto replacing = Resolve({{}, {"{source}"}, "{target}", {}, "</s>"}, &en, &de);
  ASSERT_TRUE(replacing.ok());
  EXPECT_THAT(replacing->source_tail, ElementsAre(6));
  EXPECT_EQ(replacing->start, 7);

  // translation_from_pretrained_bart.
  const auto bart = Resolve({{}, {"</s>", "{source}"}, "{target}", {}, "{target}"}, &en_xx, &de_de);
  ASSERT_TRUE(bart.ok());
  EXPECT_THAT(bart->source_tail, ElementsAre(kEndOfSentence, 8));
  EXPECT_EQ(bart->start, 9);
  EXPECT_EQ(bart->end, 9);

  // Special symbols are symbols; speech has no source side.
  EXPECT_EQ(Resolve({{}, {"</s>"}, "<pad>", {}, "</s>"}, nullptr, nullptr)->start, kPadding);
  EXPECT_EQ(Resolve({{}, {"</s>"}, "<unk>", {}, "</s>"}, nullptr, nullptr)->start, kUnknown);
  EXPECT_THAT(ResolveFrame(multi, &en, &de, nullptr, Dictionary())->source_lead, IsEmpty());
}

TEST(FrameTest, WhatIsMissingIsNamed) {
  const LanguageConfig en = {"en", "__en__", "__en__"}, fr = {"fr", "__fr__", "__fr__"};
  const LanguageConfig only_source = {"xx", "__en__", ""};
  const FrameConfig multi = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  for (const auto& [status, what] : {
           std::pair(Resolve(multi, &en, &fr).status(), "__fr__"),
           {Resolve(multi, &en, &only_source).status(), "no token for that side"},
           {Resolve(multi, nullptr, &en).status(), "source_lead has {source}"},
           {Resolve({{}, {"nowhere"}, "</s>", {}, "</s>"}, &en, &en).status(), "source_tail"},
       }) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
}

TEST(FrameTest, TheTokensOfFramesAreThoseOfAllLanguages) {
  const FrameConfig multi = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  const std::vector<LanguageConfig> languages = {{"en", "__en__", "__en__"},
                                                 {"de", "__de__", "__de__"}};
  // Marian names the target's language on the source's side, and prints it on the target's.
  const FrameConfig marian = {{"{target}"}, {"</s>"}, "</s>", {}, "</s>"};
  for (TokenId id = 0; id < Dictionary().size(); ++id) {
    const bool end = id == kEndOfSentence;
    const bool language = id == 6 || id == 7;
    EXPECT_EQ(FrameTokens::OfSource(multi, languages, Dictionary()).Has(id), end || language);
    EXPECT_EQ(FrameTokens::OfTarget(multi, languages, Dictionary()).Has(id), end || language);
    EXPECT_EQ(FrameTokens::OfSource(marian, languages, Dictionary()).Has(id), end || language);
    EXPECT_EQ(FrameTokens::OfTarget(marian, languages, Dictionary()).Has(id), end) << id;
    EXPECT_EQ(FrameTokens().Has(id), end);
  }
  // Names of languages that no frame has may be words of the text.
  EXPECT_FALSE(FrameTokens::OfSource({}, {{"a", "a", "a"}}, Dictionary()).Has(4));
  EXPECT_FALSE(FrameTokens::OfTarget({}, {{"a", "a", "a"}}, Dictionary()).Has(4));
}

TEST(FrameTest, AModelHasAFrameForEachPair) {
  Model model;
  model.source_vocabulary = model.target_vocabulary = Dictionary();
  ModelConfig config;
  config.frame = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  config.languages = {{"en", "__en__", ""}, {"de", "__de__", "__de__"}};
  config.target_language = "de";
  ASSERT_TRUE(model.SetLanguages(config).ok());
  EXPECT_THAT(model.info.source_languages, ElementsAre("en", "de"));
  EXPECT_THAT(model.info.target_languages, ElementsAre("de"));
  EXPECT_THAT(model.FrameOf({"en", "de"})->source_lead, ElementsAre(6));
  EXPECT_THAT(model.FrameOf({"de", ""})->forced, ElementsAre(7));
  EXPECT_TRUE(absl::IsInvalidArgument(model.FrameOf({"de", "en"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(model.FrameOf({"", "de"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(model.FrameOf({"EN", "de"}).status())) << "own codes only";
  config.languages.push_back({"fr", "__fr__", "__fr__"});
  EXPECT_TRUE(absl::IsInvalidArgument(model.SetLanguages(config)));
}

}  // namespace
}  // namespace leapstream
