// Glossaries and mark-up: what is found in a source, where it is written, and sessions with them.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/budget.h"
#include "model/api/tokenizers/subword_tokenizer.h"
#include "streaming/glossary.h"
#include "streaming/markup.h"
#include "streaming/scheduler.h"
#include "streaming/segment_terms.h"
#include "streaming/session_limits.h"
#include "streaming/symbol_alignment.h"
#include "streaming/term_finder.h"
#include "streaming/text_segment.h"
#include "streaming/word_source.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/one_session.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const Glossary> MakeGlossary(std::vector<GlossaryTerm> terms, const Model& model) {
  auto glossary = Glossary::Create(std::move(terms), model);
  EXPECT_TRUE(glossary.ok()) << glossary.status();
  return glossary.ok() ? *std::move(glossary) : nullptr;
}

// --- Mark-up. ---

std::vector<std::string> SpansOf(const std::string& word) {
  std::vector<std::string> spans;
  for (const MarkupSpan& span : MarkupOf(word)) {
    spans.push_back(word.substr(span.begin, span.end - span.begin));
  }
  return spans;
}

TEST(MarkupTest, FindsWhatStandsAsItIs) {
  EXPECT_THAT(SpansOf("<b>Save</b>,"), ElementsAre("<b>", "</b>"));
  EXPECT_THAT(SpansOf("(<br/>"), ElementsAre("<br/>"));
  EXPECT_THAT(SpansOf("\"{name}\""), ElementsAre("{name}"));
  EXPECT_THAT(SpansOf("{{user.name}},${HOME}"), ElementsAre("{{user.name}}", "${HOME}"));
  EXPECT_THAT(SpansOf("%s:%-5.2f%%"), ElementsAre("%s", "%-5.2f"));
  EXPECT_THAT(SpansOf("%(count)d"), ElementsAre("%(count)d"));
  EXPECT_THAT(SpansOf("%1$s."), ElementsAre("%1$s"));
  EXPECT_THAT(SpansOf("https://example.org/a?b=c."), ElementsAre("https://example.org/a?b=c"));
  EXPECT_THAT(SpansOf("www.example.org,"), ElementsAre("www.example.org"));
  EXPECT_THAT(SpansOf("<me@example.org>"), ElementsAre("<me@example.org>"));
  EXPECT_THAT(SpansOf("me@example.org."), ElementsAre("me@example.org"));
  EXPECT_THAT(SpansOf("&amp;&#228;"), ElementsAre("&amp;", "&#228;"));
  EXPECT_THAT(SpansOf("(1,024.5)"), ElementsAre("1,024.5"));
}

TEST(MarkupTest, LeavesWordsAlone) {
  for (const char* word : {"<", "<-", "a<b", "mp3", "50%", "%discount", "x@y", "{", "}", "a{b{",
                           "http://", "Debian", "&c", "C++", "3rd", "\xC3\xA4%s\xC3\xA4"}) {
    EXPECT_THAT(SpansOf(word), word == std::string("50%") ? testing::SizeIs(1) : testing::SizeIs(0))
        << word;
  }
}

TEST(MarkupTest, ScriptsWithoutSpacesStandNextToIt) {
  EXPECT_THAT(SpansOf("有12个苹果"), ElementsAre("12"));
  EXPECT_THAT(SpansOf("请看https://example.org/a?b。谢谢"), ElementsAre("https://example.org/a?b"));
  EXPECT_THAT(SpansOf("写信给me@example.org吧"), ElementsAre("me@example.org"));
  EXPECT_THAT(SpansOf("文件%s的<b>名字</b>"), ElementsAre("%s", "<b>", "</b>"));
}

// Each of these would be scanned anew from each of its places, were there no bounds.
TEST(MarkupTest, LongAddressesAndNumbersAreNone) {
  EXPECT_THAT(SpansOf(std::string(65, 'a') + "@example.org"), IsEmpty());
  EXPECT_THAT(SpansOf(std::string(33, 'a') + "://example.org"), IsEmpty());
  EXPECT_THAT(SpansOf(std::string(65, '1')), IsEmpty());
  EXPECT_THAT(SpansOf("<" + std::string(255, 'a') + ">"), IsEmpty());
}

TEST(MarkupTest, TextIsSettledAfterACharacterThatIsInNoMarkup) {
  const auto settled = [](const std::string& text, bool markup) {
    return text.substr(0, NextSettledPlace(text, markup).end);
  };
  EXPECT_EQ(settled("ab文字", true), "ab文");
  EXPECT_EQ(settled("<b文", false), "<b文");
  EXPECT_EQ(settled("<b文", true), "") << "a > may follow";
  EXPECT_EQ(settled("<b文>", true), "") << "all of it is a tag";
  EXPECT_EQ(settled("<b文>字", true), "<b文>字");
  EXPECT_EQ(settled("<-文", true), "<-文") << "it is no tag, whatever follows";
  EXPECT_EQ(settled("<" + std::string(300, 'b') + "文", true).size(), 304u) << "it is too long";
  EXPECT_EQ(NextSettledPlace("{文{字", true).known, 5u) << "it is settled behind the second {";
  EXPECT_EQ(NextSettledPlace("%(文)2", true).end, 0u) << "a conversion may follow";
  EXPECT_EQ(NextSettledPlace("%(文)s", true).end, 0u) << "the word may go on";
  EXPECT_EQ(NextSettledPlace("%(文)sx", true).known, 8u) << "it is none";
  for (const char* open : {"{文", "{{文}", "${文", "%{文", "%(文"})
    EXPECT_EQ(settled(open, true), "");
}

TEST(MarkupTest, TagsAreTakenOut) {
  EXPECT_EQ(WithoutTags("<b>Save</b>, {x}"), "Save, {x}");
  EXPECT_EQ(WithoutTags("<b>"), "");
  EXPECT_EQ(WithoutTags("a<b"), "a<b");
}

// --- Glossaries. ---

TEST(GlossaryTest, KnowsTextsByCase) {
  const auto model = FakeModel();
  const auto glossary = MakeGlossary({{"the tea", "ear"}, {"Tea", "in"}, {"tea", "an"}}, *model);
  EXPECT_EQ(glossary->Find("the tea", "The Tea"), 0);
  EXPECT_EQ(glossary->Find("tea", "Tea"), 1);
  EXPECT_EQ(glossary->Find("tea", "TEA"), 2) << "a term without capitals is for any case";
  EXPECT_EQ(glossary->Find("te", "te"), Glossary::kNone);
  EXPECT_TRUE(glossary->has_length(3)) << "two words and the space between them";
  EXPECT_FALSE(glossary->has_length(2));
}

TEST(GlossaryTest, RefusesWhatTheModelCannotWrite) {
  const auto model = FakeModel();
  const auto refused = [&](const std::string& source, const std::string& target) {
    return std::string(Glossary::Create({{source, target}}, *model).status().message());
  };
  EXPECT_THAT(refused("tea", "T\xC3\xBC"), HasSubstr("has no symbols for the target"));
  EXPECT_THAT(refused("7", ""), HasSubstr("has no symbols for the target"));
  EXPECT_THAT(refused("", "tea"), HasSubstr("must be one or more words"));
  std::string long_term;
  for (int i = 0; i < 33; ++i) long_term += "a ";
  EXPECT_THAT(refused(long_term + "a", "b"), HasSubstr("64 words and other characters"));
}

TEST(GlossaryTest, ScriptsWithoutSpacesHaveNoSpaceBeforeATerm) {
  FakeModelOptions options;
  options.target_language = "zh";
  const auto model = FakeModel(options);
  const TargetTerm term = MakeTargetTerm("\xE4\xB8\x80\xE4\xB8\x81", *model);
  EXPECT_EQ(term.symbols.front(), "\xE4\xB8\x80") << "without U+2581";
}

// --- Terms in a source. ---

SourceWord WordOf(const std::string& text, std::vector<uint16_t> ends) {
  SourceWord word;
  word.text = text;
  word.ends.assign(ends.begin(), ends.end());
  word.tokens.assign(ends.size(), 7);
  return word;
}

struct Found {
  std::string what;
  int ready_at;
  bool operator==(const Found& other) const {
    return what == other.what && ready_at == other.ready_at;
  }
};
std::ostream& operator<<(std::ostream& out, const Found& found) {
  return out << found.what << "@" << found.ready_at;
}

class TermFinderTest : public testing::Test {
 protected:
  // Gives the finder a word, and what was found.
  std::vector<Found> Append(const SourceWord& word) {
    int64_t work = 1 << 20;
    finder_.Append(word, tokens_, &work);
    work_ = (1 << 20) - work;
    tokens_ += static_cast<int>(word.tokens.size());
    std::vector<Found> found;
    for (const FoundTerm& term : finder_.Take()) {
      found.push_back(
          {term.entry == Glossary::kNone ? term.text : glossary_->entry(term.entry).source,
           term.ready_at});
    }
    return found;
  }

  const std::shared_ptr<const Model> model_ = FakeModel();
  const std::shared_ptr<const Glossary> glossary_ = MakeGlossary(
      {{"tea", "ear"}, {"tea house", "inn"}, {"in", "an"}, {"\xE8\x8C\xB6", "ear"}}, *model_);
  TermFinder finder_{glossary_, /*markup=*/true};
  int tokens_ = 0;
  int64_t work_ = 0;  // Of the newest word.
};

TEST_F(TermFinderTest, FindsTermsWhereTheirTokensHaveBeenRead) {
  EXPECT_THAT(Append(WordOf("the", {2, 3})), IsEmpty());
  EXPECT_THAT(Append(WordOf("(tea)", {1, 3, 4, 5})), ElementsAre(Found{"tea", 5}))
      << "the parenthesis behind it need not have been read";
  EXPECT_EQ(work_, 3 * glossary_->lengths()) << "three places at which a term may end";
  EXPECT_THAT(Append(WordOf("steam", {5})), IsEmpty()) << "a part of a word";
  EXPECT_THAT(Append(WordOf("Tea", {9, 10})), ElementsAre(Found{"tea", 9}))
      << "tokens that do not say what they are of count all";
}

TEST_F(TermFinderTest, ASegmentHasSoManyTermsAtMost) {
  for (int i = 0; i < budget::kTermsPerSegment; ++i) {
    ASSERT_EQ(Append(WordOf("<b>", {})).size(), 1u) << i;
  }
  EXPECT_THAT(Append(WordOf("<b>", {})), IsEmpty());
  for (int i = 0; i < budget::kTermsPerSegment; ++i) {
    ASSERT_EQ(Append(WordOf("tea", {3})).size(), 1u) << "mark-up takes no place of a term";
  }
  EXPECT_THAT(Append(WordOf("tea", {3})), IsEmpty());
  finder_.Reset();
  EXPECT_EQ(Append(WordOf("tea", {3})).size(), 1u);
}

TEST_F(TermFinderTest, TheLongestTermWins) {
  EXPECT_THAT(Append(WordOf("tea", {3})), ElementsAre(Found{"tea", 1}));
  EXPECT_THAT(Append(WordOf("house,", {5, 6})), ElementsAre(Found{"tea house", 2}));
  EXPECT_THAT(Append(WordOf("house", {5})), IsEmpty());
}

TEST_F(TermFinderTest, ScriptsWithoutSpacesHaveTermsWithinWords) {
  EXPECT_THAT(Append(WordOf("\xE5\x96\x9D\xE8\x8C\xB6\xE5\x90\xA7", {3, 6, 9})),
              ElementsAre(Found{"\xE8\x8C\xB6", 2}));
}

TEST_F(TermFinderTest, FindsMarkupBetweenTheTokensOfAWordWithoutTags) {
  EXPECT_THAT(Append(WordOf("the", {3})), IsEmpty());
  EXPECT_THAT(Append(WordOf("<b>tea</b>!", {2, 3, 4})),
              testing::UnorderedElementsAre(Found{"<b>", 2}, Found{"tea", 3}, Found{"</b>", 3}));
  EXPECT_THAT(Append(WordOf("<br/>", {})), ElementsAre(Found{"<br/>", 5}))
      << "until the token behind it has been read, it need not be known";
}

// --- Sources of scripts without spaces, which come in parts. ---

TEST(SymbolAlignmentTest, SymbolsEndWhereTheirCharactersDo) {
  const auto ends = [](const std::string& text, const std::vector<std::string>& symbols) {
    const std::vector<MarkupSpan> tags = TagsOf(text);
    SymbolAlignment alignment;
    std::vector<size_t> places;
    for (const std::string& symbol : symbols)
      places.push_back(alignment.Append(symbol, text, tags));
    return places;
  };
  EXPECT_THAT(ends("文字", {"\xE2\x96\x81文", "字"}), ElementsAre(3, 6));
  EXPECT_THAT(ends("（１…文", {"(", "1.", ".", ".文"}), ElementsAre(3, 9, 9, 12)) << "NFKC";
  EXPECT_THAT(ends("ｶﾞ文", {"ガ", "文"}), ElementsAre(3, 9)) << "its mark comes with the next";
  EXPECT_THAT(ends("文字", {"<0xE6>", "<0x96>", "<0x87>", "字"}), ElementsAre(3, 3, 3, 6));
  EXPECT_THAT(ends("é文", {"Ã", "©", "æ", "Ė", "Ƈ"}), ElementsAre(1, 2, 3, 4, 5)) << "bytes";
  EXPECT_THAT(ends("文<b>字</b>", {"文", "字"}), ElementsAre(3, 9));
  EXPECT_THAT(ends("文<b>字", {"文字", "more"}), ElementsAre(9, 9)) << "there is no more";
}

// The terms that are found in a source that comes as `chunks`.
std::vector<std::string> FindAll(const Model& model, std::shared_ptr<const Glossary> glossary,
                                 bool markup, const std::vector<std::string>& chunks) {
  WordSource source(model, /*places=*/false);
  source.KeepText(markup);
  TermFinder finder(glossary, markup);
  std::vector<std::string> all;
  int tokens = 0;
  int64_t work = 1 << 30;
  const auto pop = [&] {
    SourceWord word;
    for (; *source.PopWord(&work, &word); word = SourceWord()) {
      finder.Append(word, tokens, &work);
      tokens += static_cast<int>(word.tokens.size());
      for (const FoundTerm& found : finder.Take()) {
        EXPECT_GE(found.ready_at, tokens - static_cast<int>(word.tokens.size()) + 1)
            << "it was known when that had been read: " << absl::StrJoin(chunks, "|");
        all.push_back(absl::StrCat(
            found.entry == Glossary::kNone ? found.text : glossary->entry(found.entry).source, "@",
            found.ready_at, " atoms ", found.begin, "-", found.end,
            found.is_tag ? absl::StrCat(" behind ", found.word) : "", " ", found.before,
            found.glued_before ? "<" : "", found.glued_behind ? ">" : ""));
      }
    }
  };
  for (const std::string& chunk : chunks) {
    EXPECT_TRUE(source.Append(chunk, {}, &work).ok());
    pop();
  }
  source.Close();
  pop();
  return all;
}

TEST(UnspacedTermsTest, AnyChunkingFindsTheSame) {
  const auto model = std::const_pointer_cast<Model>(FakeModel());
  const auto glossary =
      MakeGlossary({{"茶", "ear"}, {"红茶", "inn"}, {"tea", "an"}, {"茶tea", "in"}}, *model);
  const std::vector<std::string> parts = {
      "茶",    "红",     "喝", "tea",  " ",  "（", "<b>", "</b>", "<b title=\"茶\">", "{名}",
      "{x}",   "{<b>}",  "<",  "{",    "12", "%s", "％",  "é",    "http://a.b/茶",    "me@a.org",
      "&amp;", "<0xE8>", "。", "%(名", ")",  "s",  "x"};
  std::mt19937 random(7);
  size_t found = 0;
  for (const char* bpe : {"characters", "bytes"}) {
    TokenizerConfig config;
    config.tokenizer = "space";
    config.bpe = bpe;
    model->source_tokenizer = *SubwordTokenizer::Create(config, {});
    for (int round = 0; round < 2000; ++round) {
      std::string text;
      for (int i = 0; i < 12; ++i) text += parts[random() % parts.size()];
      const bool markup = round % 4 != 0;
      const auto whole = FindAll(*model, glossary, markup, {text});
      found += whole.size();
      for (const size_t most : {1, 2, 9}) {
        std::vector<std::string> chunks;
        for (size_t at = 0; at < text.size();) {
          const size_t size = 1 + random() % most;
          chunks.push_back(text.substr(at, size));
          at += size;
        }
        ASSERT_EQ(FindAll(*model, glossary, markup, chunks), whole) << bpe << " " << text;
      }
    }
  }
  EXPECT_GT(found, 10000u);
}

TEST(UnspacedTermsTest, TagsWithinAWordAreFoundWhileItGoesOn) {
  const auto model = std::const_pointer_cast<Model>(FakeModel());
  TokenizerConfig config;
  config.tokenizer = "space";
  config.bpe = "characters";
  model->source_tokenizer = *SubwordTokenizer::Create(config, {});
  EXPECT_THAT(FindAll(*model, nullptr, true, {"喝<b>茶</b>吧"}),
              ElementsAre("<b>@2 atoms 1-4 behind 1 喝<>", "</b>@3 atoms 5-9 behind 2 茶<>"));
  WordSource source(*model, false);
  source.KeepText(true);
  int64_t work = 1 << 20;
  ASSERT_TRUE(source.Append("喝<b>茶</b>吧", {}, &work).ok());
  SourceWord word;
  ASSERT_TRUE(*source.PopWord(&work, &word)) << "the word is not complete";
  EXPECT_EQ(word.text, "喝<b>茶</b>吧");
  EXPECT_TRUE(word.open);
}

// A translation that ends within its source: the next segment finds what a resumed one does.
TEST(UnspacedTermsTest, TheNextSegmentHasTheTermsOfAResumedOne) {
  const auto model = std::const_pointer_cast<Model>(FakeModel());
  TokenizerConfig config;
  config.tokenizer = "space";
  config.bpe = "characters";
  model->source_tokenizer = *SubwordTokenizer::Create(config, {});
  SessionOptions options;
  options.next_segments = options.keep_markup = true;
  options.glossary = MakeGlossary({{"茶", "ear"}, {"喝茶", "inn"}, {"tea", "an"}}, *model);
  const std::string text = "喝茶<b>茶</b> tea <i> 红{x}茶<br/> <u>红茶</u>喝茶";
  const auto find = [](TextSegment* segment) {
    std::vector<std::string> all;
    int64_t work = 1 << 20;
    SegmentSource::Next next = SegmentSource::Next::kRead;
    while (next == SegmentSource::Next::kRead) {
      next = *segment->NextRead(&work);
      for (const FoundTerm& found : segment->TakeTerms()) {
        all.push_back(absl::StrCat(found.entry, found.text, "@", found.ready_at, " ", found.word,
                                   found.before, found.glued_behind));
      }
    }
    return all;
  };
  int within = 0;
  for (size_t known = 1; known <= text.size(); ++known) {
    for (int read = 1; read < 12; ++read) {
      int64_t work = 1 << 20;
      TextSegment segment(options, *model, Frame(), ResumeFrom());
      segment.Open();
      ASSERT_TRUE(segment.Append(text.substr(0, known), {0, 0}, &work).ok());
      int given = 0;
      while (given < read && *segment.NextRead(&work) == SegmentSource::Next::kRead) ++given;
      if (given < read) continue;
      segment.ForgetReads();
      segment.TakeTerms();
      const SourceLeft left = segment.Leave(read);
      ASSERT_TRUE(left.continues_at.has_value());
      const auto begin = static_cast<size_t>(left.continues_at->samples);
      segment.OpenWithRest();
      ASSERT_TRUE(segment.Append(text.substr(known), {0, static_cast<int64_t>(known)}, &work).ok());
      segment.Close();
      ResumeFrom from;
      from.in_text = left.continues_in_text;
      from.skip_tokens = left.continues_after_tokens;
      within += from.skip_tokens > 0 ? 1 : 0;
      TextSegment resumed(options, *model, Frame(), from);
      resumed.Open();
      ASSERT_TRUE(resumed.Append(text.substr(begin), {0, static_cast<int64_t>(begin)}, &work).ok());
      resumed.Close();
      const auto found = find(&segment);
      ASSERT_EQ(found, find(&resumed)) << known << " " << read << " " << text.substr(begin);
      EXPECT_GT(found.size(), 3u) << "the tail has some";
      EXPECT_TRUE(
          absl::c_equal(segment.due_rows(nullptr).tokens, resumed.due_rows(nullptr).tokens));
    }
  }
  EXPECT_GT(within, 50);
}

// --- Where terms are written. ---

class SegmentTermsTest : public testing::Test {
 protected:
  SegmentTermsTest() {
    tea_.entry = 0;
    tea_.begin = 0;
    tea_.end = 1;
    tea_.ready_at = 3;
    terms_.Reset();
  }
  TokenId Id(const std::string& symbol) const {
    return model_->target_vocabulary.Id("\xE2\x96\x81" + symbol);
  }
  SegmentTerms::Step Step(TokenId best, int read) const {
    SegmentTerms::Step step;
    step.best = best;
    step.begins_word = true;
    step.source_read = read;
    return step;
  }

  const std::shared_ptr<const Model> model_ = FakeModel();
  const std::shared_ptr<const Glossary> glossary_ =
      MakeGlossary({{"tea", "earth"}, {"inn", ""}, {"tea inn", "an"}}, *model_);
  const std::vector<TokenId>& earth_ = glossary_->entry(0).target.ids;
  SegmentTerms terms_{glossary_, *model_, Frame()};
  FoundTerm tea_;
};

TEST_F(SegmentTermsTest, ATermThatBeginsIsWrittenToItsEnd) {
  terms_.Add({tea_});
  ASSERT_GE(earth_.size(), 2u);
  EXPECT_EQ(terms_.Choose(Step(earth_[0], 2)), earth_[0]);
  EXPECT_EQ(terms_.Write(earth_[0], true, 2).symbol, nullptr) << "it has not been read";
  EXPECT_FALSE(terms_.owed().has_value());
  EXPECT_NE(terms_.Write(earth_[0], true, 3).symbol, nullptr);
  for (size_t i = 1; i < earth_.size(); ++i) {
    EXPECT_EQ(terms_.owed(), earth_[i]);
    terms_.Write(earth_[i], false, 3);
  }
  EXPECT_FALSE(terms_.owed().has_value());
  EXPECT_EQ(terms_.Write(earth_[0], true, 4).symbol, nullptr) << "it is written once";
}

TEST_F(SegmentTermsTest, AWordOfTheModelsOwnIsReplaced) {
  terms_.Add({tea_});
  EXPECT_FALSE(terms_.WantsProbe(2));
  EXPECT_EQ(terms_.Choose(Step(Id("th"), 3)), Id("th")) << "nothing is known of it yet";
  ASSERT_TRUE(terms_.WantsProbe(3));
  terms_.SetState(*model_->translator->NewState());
  terms_.BeginProbe();
  EXPECT_EQ(terms_.probe_source().tokens.back(), kEndOfSentence);
  std::vector<float> log_probs(static_cast<size_t>(model_->target_vocabulary.size()), -9);
  log_probs[static_cast<size_t>(Id("th"))] = -3;
  log_probs[static_cast<size_t>(model_->target_vocabulary.Id("th"))] = -1;
  TokenScores scores;
  scores.logits = log_probs;
  terms_.TakeProbe(scores);
  EXPECT_FALSE(terms_.WantsProbe(3)) << "once for each term";
  EXPECT_EQ(terms_.Choose(Step(Id("th"), 3)), earth_[0]);
  EXPECT_EQ(terms_.Choose(Step(Id("b"), 3)), Id("b"));
  SegmentTerms::Step within = Step(model_->target_vocabulary.Id("th"), 3);
  within.begins_word = false;
  EXPECT_EQ(terms_.Choose(within), within.best) << "words are not broken";
}

TEST_F(SegmentTermsTest, AProbeIsSmall) {
  std::string source = "a";
  for (int i = 0; i < 20; ++i) source += " a";
  const auto glossary = MakeGlossary({{source, "an"}}, *model_);
  SegmentTerms terms(glossary, *model_, Frame());
  terms.Add({tea_});
  ASSERT_TRUE(terms.WantsProbe(3));
  terms.SetState(*model_->translator->NewState());
  terms.BeginProbe();
  EXPECT_EQ(terms.probe_source().tokens.size(), budget::kTermTokens + 1);
  const std::vector<float> log_probs(static_cast<size_t>(model_->target_vocabulary.size()), -1);
  TokenScores scores;
  scores.logits = log_probs;
  terms.TakeProbe(scores);
  size_t own = 0;
  const TokenId first = glossary->entry(0).target.ids[0];
  for (TokenId id = kUnknown + 1; id < model_->target_vocabulary.size(); ++id) {
    if (id != first && terms.Choose(Step(id, 3)) == first) ++own;
  }
  EXPECT_LE(own, budget::kOwnWords);
  EXPECT_GT(own, 0u);
}

TEST_F(SegmentTermsTest, AWordThatBeginsATermIsNoOtherTermsOwn) {
  FoundTerm inn = tea_;
  inn.entry = 1;
  inn.begin = 4;
  inn.end = 5;
  terms_.Add({tea_, inn});
  ASSERT_TRUE(terms_.WantsProbe(3));
  terms_.SetState(*model_->translator->NewState());
  terms_.BeginProbe();
  const TokenId first = glossary_->entry(1).target.ids[0];
  std::vector<float> log_probs(static_cast<size_t>(model_->target_vocabulary.size()), -9);
  log_probs[static_cast<size_t>(first)] = -1;
  TokenScores scores;
  scores.logits = log_probs;
  terms_.TakeProbe(scores);
  EXPECT_EQ(terms_.Choose(Step(first, 3)), first);
}

TEST_F(SegmentTermsTest, OnlyWhatIsNotTranslatedIsWrittenAtTheEnd) {
  SegmentTerms::Step end = Step(kEndOfSentence, 9);
  end.begins_word = false;
  end.ends = end.source_finished = true;
  terms_.Add({tea_});
  EXPECT_EQ(terms_.Choose(end), kEndOfSentence);
  FoundTerm inn = tea_;
  inn.entry = 1;
  inn.begin = 4;
  inn.end = 5;
  terms_.Add({inn});
  EXPECT_EQ(terms_.Choose(end), glossary_->entry(1).target.ids[0]);
}

TEST_F(SegmentTermsTest, ALongerTermTakesTheShorterOnesPlaceUnlessItHasBegun) {
  FoundTerm longer = tea_;
  longer.entry = 2;
  longer.end = 3;
  longer.ready_at = 4;
  const TokenId first = glossary_->entry(2).target.ids[0];
  terms_.Add({tea_, longer});
  EXPECT_EQ(terms_.Choose(Step(first, 3)), first);
  EXPECT_EQ(terms_.Write(earth_[0], true, 4).symbol, nullptr) << "the longer one stands for it";
  EXPECT_NE(terms_.Write(first, true, 4).symbol, nullptr);
  terms_.Reset();
  terms_.Add({tea_, longer});
  EXPECT_NE(terms_.Write(earth_[0], true, 3).symbol, nullptr);
  for (size_t i = 1; i < earth_.size(); ++i) terms_.Write(earth_[i], false, 4);
  EXPECT_EQ(terms_.Write(first, true, 4).symbol, nullptr) << "the shorter one is written";
}

TEST_F(SegmentTermsTest, TagsStandAroundAsManyWordsAsInTheSource) {
  int64_t work = 1 << 20;
  TermFinder finder(nullptr, /*markup=*/true);
  finder.Append(WordOf("the", {3}), 0, &work);
  finder.Append(WordOf("<b>tea</b>", {3}), 1, &work);
  terms_.Add(finder.Take());
  SegmentTerms::Step step = Step(Id("in"), 2);
  EXPECT_EQ(terms_.Choose(step), step.best) << "no word has been written";
  step.target_words = 1;
  const TargetTerm begin = MakeTargetTerm("<b>", *model_), end = MakeTargetTerm("</b>", *model_);
  EXPECT_EQ(terms_.Choose(step), begin.ids[0]);
  bool begins = true;
  for (const TokenId id : begin.ids) {
    EXPECT_NE(terms_.Write(id, begins, 2).symbol, nullptr);
    begins = false;
  }
  step.target_words = 2;
  EXPECT_EQ(terms_.Choose(step), step.best) << "the tag is no word";
  step.target_words = 3;
  EXPECT_EQ(terms_.Choose(step), end.ids[0]);
}

// --- Sessions. ---

constexpr char kText[] =
    "the tea <b>in</b> the {name} inner ear can be heard %s there and then another tea 12 inn";

FakeModelOptions FollowsSource(int strays) {
  FakeModelOptions fake;
  fake.follows_source = strays;
  return fake;
}

class TermsSessionTest : public testing::Test {
 protected:
  explicit TermsSessionTest(int strays = 7) : model_(FakeModel(FollowsSource(strays))) {
    options_.policy = WaitK{2};
    options_.glossary = MakeGlossary(
        {{"tea", "earth"}, {"inner ear", "the inn"}, {"inn", ""}, {"there", "an"}}, *model_);
    options_.keep_markup = true;
  }
  static std::vector<std::pair<TokenId, int>> Trace(const CollectingSink& sink) {
    std::vector<std::pair<TokenId, int>> trace;
    for (const TargetToken& token : sink.tokens) {
      trace.emplace_back(token.id, token.source_tokens_read);
    }
    return trace;
  }

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
};

TEST_F(TermsSessionTest, TermsAndMarkupStandInTheTarget) {
  Scheduler scheduler(model_);
  const auto sink = Translate(scheduler, options_, {kText});
  const std::string& text = sink->segments[0].text;
  EXPECT_EQ(text, sink->appended[0]) << "text is only appended";
  for (const char* kept : {"<b>", "</b>", "{name}", "%s", "12", "inn"}) {
    EXPECT_TRUE(absl::StrContains(text, kept)) << kept << " in " << text;
  }
  options_.glossary = nullptr;
  options_.keep_markup = false;
  const auto plain = Translate(scheduler, options_, {kText});
  EXPECT_FALSE(absl::StrContains(plain->segments[0].text, "{name}")) << plain->segments[0].text;
}

TEST_F(TermsSessionTest, AnyChunkingGivesTheSame) {
  Scheduler scheduler(model_);
  for (const Policy& policy :
       {Policy(WaitK{1}), Policy(WaitK{3}), Policy(AdaptiveWaitK{1, 4}), Policy(Offline())}) {
    options_.policy = policy;
    const auto whole = Translate(scheduler, options_, {kText});
    const std::string text = kText;
    for (const size_t size : {1, 3, 7}) {
      std::vector<std::string> chunks;
      for (size_t at = 0; at < text.size(); at += size) chunks.push_back(text.substr(at, size));
      const auto cut = Translate(scheduler, options_, chunks);
      EXPECT_EQ(Trace(*cut), Trace(*whole)) << ToString(policy) << " " << size;
      EXPECT_EQ(cut->segments[0].text, whole->segments[0].text);
    }
  }
}

TEST_F(TermsSessionTest, ABatchGivesWhatItsMembersGiveAlone) {
  Scheduler scheduler(model_);
  const auto alone = Translate(scheduler, options_, {kText});
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  std::vector<std::shared_ptr<Session>> sessions;
  for (int i = 0; i < 20; ++i) {
    sinks.push_back(std::make_unique<CollectingSink>());
    SessionOptions options = options_;
    if (i % 3 == 1) options.glossary = nullptr;
    auto session = scheduler.Open(options, sinks.back().get());
    ASSERT_TRUE(session.ok()) << session.status();
    sessions.push_back(*std::move(session));
  }
  for (const auto& session : sessions) {
    session->Push(std::string(kText));
    session->EndSource();
  }
  for (size_t i = 0; i < sinks.size(); ++i) {
    sinks[i]->Wait();
    if (i % 3 != 1) {
      EXPECT_EQ(Trace(*sinks[i]), Trace(*alone));
    }
  }
}

class UnspacedTermsSessionTest : public TermsSessionTest {
 protected:
  UnspacedTermsSessionTest() {
    const auto model = std::const_pointer_cast<Model>(FakeModel(FollowsSource(7)));
    TokenizerConfig config;
    config.tokenizer = "space";
    config.bpe = "characters";
    model->source_tokenizer = *SubwordTokenizer::Create(config, {});
    model_ = model;
    options_.glossary = MakeGlossary({{"茶", "earth"}, {"红茶", "the inn"}, {"inn", ""}}, *model_);
  }
};

TEST_F(UnspacedTermsSessionTest, AnyChunkingAndAnyResumeGiveTheSame) {
  const std::string text = "我喝<b>茶</b>，你喝{红}红茶。 茶inn <i> 有12个%s";
  Scheduler scheduler(model_);
  for (const Policy& policy : {Policy(WaitK{1}), Policy(WaitK{3}), Policy(Offline())}) {
    options_.policy = policy;
    const auto whole = Translate(scheduler, options_, {text});
    for (const char* kept : {"<b>", "</b>", "{红}", "12", "%s", "inn"}) {
      EXPECT_TRUE(absl::StrContains(whole->segments[0].text, kept))
          << kept << " in " << whole->segments[0].text;
    }
    for (const size_t size : {1, 2, 5}) {
      std::vector<std::string> chunks;
      for (size_t at = 0; at < text.size(); at += size) chunks.push_back(text.substr(at, size));
      const auto cut = Translate(scheduler, options_, chunks);
      EXPECT_EQ(Trace(*cut), Trace(*whole)) << ToString(policy) << " " << size;
      EXPECT_EQ(cut->segments[0].text, whole->segments[0].text);
    }
    for (size_t cut = 0; cut <= whole->tokens.size(); ++cut) {
      ResumeFrom from;
      for (size_t i = 0; i < cut; ++i) from.committed.push_back(whole->tokens[i].id);
      const auto resumed = Translate(scheduler, options_, {text}, std::move(from));
      EXPECT_EQ(resumed->segments[0].text, whole->segments[0].text) << ToString(policy) << cut;
    }
  }
}

// At each token, and in both ways of going on: replayed at once, and decided again.
TEST_F(TermsSessionTest, AResumedSessionGivesTheTranscriptOfAnUninterruptedOne) {
  Scheduler scheduler(model_);
  for (const Policy& policy : {Policy(WaitK{2}), Policy(AdaptiveWaitK{1, 4}), Policy(Offline())}) {
    options_.policy = policy;
    const auto whole = Translate(scheduler, options_, {kText});
    for (size_t cut = 0; cut <= whole->tokens.size(); ++cut) {
      for (const bool places : {true, false}) {
        ResumeFrom from;
        for (size_t i = 0; i < cut; ++i) {
          from.committed.push_back(whole->tokens[i].id);
          if (places) from.source_read.push_back(whole->tokens[i].source_tokens_read);
        }
        const auto resumed = Translate(scheduler, options_, {kText}, std::move(from));
        ASSERT_EQ(resumed->segments.size(), 1u);
        EXPECT_EQ(resumed->segments[0].text, whole->segments[0].text)
            << ToString(policy) << " after " << cut << " tokens" << (places ? "" : ", no places");
        ASSERT_EQ(resumed->tokens.size(), whole->tokens.size() - cut);
        for (size_t i = 0; i < resumed->tokens.size(); ++i) {
          EXPECT_EQ(resumed->tokens[i].id, whole->tokens[cut + i].id);
          EXPECT_EQ(resumed->texts[i], whole->texts[cut + i]);
        }
      }
    }
  }
}

TEST_F(TermsSessionTest, OtherPoliciesAndSpeechAreRefused) {
  Scheduler scheduler(model_);
  const auto refused = [&](const SessionOptions& options) {
    CollectingSink sink;
    return std::string(scheduler.Open(options, &sink).status().message());
  };
  SessionOptions options = options_;
  options.policy = LocalAgreement();
  EXPECT_THAT(refused(options), HasSubstr("policies that decide of one token at a time"));
  options = options_;
  options.beam.emplace();
  EXPECT_THAT(refused(options), HasSubstr("policies that decide of one token at a time"));
  FakeModelOptions speech;
  speech.speech = true;
  EXPECT_FALSE(TakesTerms(options_, FakeModel(speech)->info));
}

TEST_F(TermsSessionTest, TheStateForProbesCounts) {
  const int64_t with = StateBytes(options_, model_->info);
  options_.glossary = nullptr;
  EXPECT_EQ(with, 2 * StateBytes(options_, model_->info));
}

}  // namespace
}  // namespace leapstream
