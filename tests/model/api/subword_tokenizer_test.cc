#include "model/api/tokenizers/subword_tokenizer.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "model/api/tokenizers/lower_case.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Format = BpeCodes::Format;

BpeCodes Parse(const std::string& text, Format format = Format::kSubwordNmt) {
  auto codes = BpeCodes::Parse(text, format, "codes");
  EXPECT_TRUE(codes.ok()) << codes.status();
  return *std::move(codes);
}

std::string Refusal(const std::string& text, Format format = Format::kSubwordNmt) {
  return std::string(BpeCodes::Parse(text, format, "codes").status().message());
}

TEST(BpeCodesTest, AMergeIsMadeEverywhereFromTheLeftAndTheFirstLineIsFirst) {
  const BpeCodes codes = Parse("#version: 0.2\r\nx x \r\na b\nb c\n");
  EXPECT_THAT(codes.Symbols("xxxy"), ElementsAre("xx@@", "x@@", "y"));
  EXPECT_THAT(codes.Symbols("abcd"), ElementsAre("ab@@", "c@@", "d"));
  EXPECT_THAT(codes.Symbols("x"), ElementsAre("x"));
  EXPECT_TRUE(codes.Symbols("").empty());
}

TEST(BpeCodesTest, TheEndOfAWordIsPartOfItsLastCharacterSinceVersion02) {
  EXPECT_THAT(Parse("#version: 0.2\na b</w>\n").Symbols("abab"), ElementsAre("a@@", "b@@", "ab"));
  EXPECT_THAT(Parse("b </w>\na b</w>\n").Symbols("abab"), ElementsAre("a@@", "b@@", "ab"));
  EXPECT_THAT(Parse("#version: 0.1\na b\nab </w>\n").Symbols("abab"), ElementsAre("ab@@", "ab"));
}

TEST(BpeCodesTest, OfEqualLinesTheFirstCountsAndOfFastBpesTheLast) {
  EXPECT_THAT(Parse("#version: 0.2\na b\nb c\na b\n").Symbols("abcd"),
              ElementsAre("ab@@", "c@@", "d"));
  EXPECT_THAT(Parse("a b 3\nb c 2\na b 1\n", Format::kFastBpe).Symbols("abcd"),
              ElementsAre("a@@", "bc@@", "d"));
  EXPECT_THAT(Parse("a b\n", Format::kFastBpe).Symbols("abd"), ElementsAre("ab@@", "d"))
      << "the count may be missing";
}

TEST(BpeCodesTest, WhatIsNoCodesFileIsRefused) {
  EXPECT_THAT(Refusal("#version: 0.3\na b\n"), HasSubstr("line 1: expected \"#version: 0.1\""));
  EXPECT_THAT(Refusal("a b\nc\n"), HasSubstr("line 2: expected `left right`"));
  EXPECT_THAT(Refusal("a b 7\n"), HasSubstr("use --bpe fastbpe"));
  EXPECT_THAT(Refusal("a b c d\n"), HasSubstr("line 1"));
  EXPECT_THAT(Refusal("a b\n\nc d\n"), HasSubstr("line 2"));
  EXPECT_THAT(Refusal(" a b\n"), HasSubstr("line 1"));
  EXPECT_THAT(Refusal("#version: 0.2\na b\n", Format::kFastBpe), HasSubstr("--bpe subword_nmt"));
  EXPECT_THAT(Refusal("a \xff\n"), HasSubstr("UTF-8"));
  EXPECT_THAT(Refusal("a b\n\n \nc d\n\n"), HasSubstr("line 2"));
  EXPECT_EQ(Refusal(""), "");  // No merges: words become characters.
  EXPECT_EQ(Refusal("a b\n\n \r\n\n"), "") << "blank lines at the end are no lines";
  EXPECT_EQ(Refusal("\n"), "");
}

TEST(BpeCodesTest, ASymbolOutsideTheVocabularyIsUndone) {
  BpeCodes codes = Parse("#version: 0.2\na b\nab c</w>\nab d\n");
  ASSERT_TRUE(codes.SetVocabulary("ab@@ 9\nabd@@ 2\nc 7\n", 5, "vocabulary").ok());
  EXPECT_THAT(codes.Symbols("abc"), ElementsAre("ab@@", "c"));
  EXPECT_THAT(codes.Symbols("abde"), ElementsAre("ab@@", "d@@", "e"));
  EXPECT_THAT(std::string(codes.SetVocabulary("ab\n", 5, "vocabulary").message()),
              HasSubstr("vocabulary: line 1: expected `symbol count`"));
  EXPECT_THAT(std::string(codes.SetVocabulary("ab x\n", 5, "vocabulary").message()),
              HasSubstr("line 1"));
  // "</w>" itself is a merge: undoing it ends.
  BpeCodes strange = Parse("a <\n< /\n</ w\n</w >\na </w>\n");
  ASSERT_TRUE(strange.SetVocabulary("z 9\n", 5, "vocabulary").ok());
  EXPECT_FALSE(strange.Symbols("aa").empty());
}

TEST(BpeCodesTest, ALongWordIsDoneSoon) {
  std::string merges = "#version: 0.2\n";
  std::string word;
  for (int i = 0; i < 400; ++i) {
    const char a = static_cast<char>('a' + i % 26), b = static_cast<char>('a' + (i * 7 + 3) % 26);
    merges += {a, ' ', b, '\n'};
    word += {a, b};
  }
  EXPECT_FALSE(Parse(merges).Symbols(word).empty());
}

TEST(LowerCaseTest, EachCharacterIsByItself) {
  EXPECT_EQ(LowerCase("Ärger IN ΟΔΟΣ, Ş Ǆ ẞ 5 &QUOT;"), "ärger in οδοσ, ş ǆ ß 5 &quot;");
  EXPECT_EQ(LowerCase("İ"), "i\xCC\x87");
}

std::unique_ptr<const SubwordTokenizer> Make(const std::string& bpe, const std::string& tokenizer,
                                             const std::string& language) {
  TokenizerConfig config;
  config.bpe = bpe;
  config.tokenizer = tokenizer;
  config.moses_language = language;
  return *SubwordTokenizer::Create(config, {});
}

std::string Decode(const SubwordTokenizer& tokenizer, const std::string& symbols) {
  return tokenizer.Decode(absl::StrSplit(symbols, ' '));
}

TEST(SubwordTokenizerTest, LowerCaseComesAfterTheTokenizer) {
  TokenizerConfig config;
  config.bpe = "none";
  config.tokenizer = "moses";
  config.moses_language = "en";
  config.lowercase = true;
  TokenizerFiles files;
  files.prefixes = {"Mr\nNo #NUMERIC_ONLY#\n# a comment\n", "prefixes"};
  const auto tokenizer = *SubwordTokenizer::Create(config, files);
  EXPECT_THAT(tokenizer->Encode("Mr. X, No. 5"), ElementsAre("mr.", "x", ",", "no.", "5"));
  files.prefixes.bytes = "\xff";
  EXPECT_THAT(std::string(SubwordTokenizer::Create(config, files).status().message()),
              HasSubstr("prefixes: expected a list"));
}

// The tokens of words that come one by one. The earlier words that each one is tokenised with stay
// few, so that the time is linear.
std::vector<std::string> Streamed(const MosesTokenizer& moses,
                                  const std::vector<std::string>& words) {
  MosesContext context;
  std::vector<MosesTokenizer::Tokens> ready;
  for (const std::string& word : words) {
    moses.Peek(word.substr(0, 1), &context, &ready);
    moses.AppendWord(word, &context, &ready);
    size_t characters = 0;
    for (const std::u32string& kept : context.words) characters += kept.size();
    EXPECT_LE(context.words.size(), 2 * budget::kContextWords + 1);
    EXPECT_LE(characters, 3 * budget::kWordBytes);
    if (::testing::Test::HasFailure()) break;
  }
  moses.Finish(&context, &ready);
  EXPECT_EQ(ready.size(), words.size());
  std::vector<std::string> tokens;
  for (const auto& word : ready) tokens.insert(tokens.end(), word.begin(), word.end());
  return tokens;
}

TEST(MosesTokenizerTest, TheContextOfAWordIsBounded) {
  const auto moses = *MosesTokenizer::Create({"en"}, "", "prefixes");
  const auto whole = [&moses](const std::vector<std::string>& words) {
    std::vector<std::string> tokens;
    for (const auto& word : moses.Tokenize(absl::StrJoin(words, " "))) {
      tokens.insert(tokens.end(), word.begin(), word.end());
    }
    return tokens;
  };
  const std::vector<std::vector<std::string>> kinds = {
      {","}, {"'x"}, {"'"}, {"\x01"}, {",5", "'.", "\x01"}, {"," + std::string(1000, 'x')},
      {"x,", "'", "\x01", "\x02\x01", "'s", ",,"}};
  for (const std::vector<std::string>& kind : kinds) {
    std::vector<std::string> words;
    for (int i = 0; i < (kind[0].size() > 100 ? 100 : 4000); ++i) {
      words.push_back(kind[i % kind.size()]);
    }
    EXPECT_EQ(Streamed(moses, words), whole(words)) << kind[0];
  }
  // A word that waits does not wait for many words of control characters.
  std::vector<std::string> words(500, "\x01");
  words[0] = "etc.";
  words.push_back("x");
  EXPECT_THAT(Streamed(moses, words), ElementsAre("etc", ".", "x"));
}

TEST(SubwordTokenizerTest, ALanguageMayHaveARegion) {
  EXPECT_THAT(Make("none", "moses", "fr_XX")->Encode("l'eau"), ElementsAre("l&apos;", "eau"));
  EXPECT_THAT(Make("none", "moses", "EN-us")->Encode("it's"), ElementsAre("it", "&apos;s"));
}

TEST(SubwordTokenizerTest, CzechNumbersStayTogetherAndQuotesAreCzech) {
  const auto czech = Make("none", "moses", "cs");
  EXPECT_EQ(Decode(*czech, "V roce 1990 jich bylo 5 , 3 ."), "V roce 1990 jich bylo 5,3.");
  EXPECT_EQ(Decode(*czech, "V roce 1990 jich bylo 5 ."), "V roce 1990 jich bylo 5.");
  EXPECT_EQ(Decode(*czech, "5 , 3 @-@ x"), "5, 3-x");
  EXPECT_EQ(Decode(*czech, "a „ b “ c"), "a „b“ c");
}

TEST(SubwordTokenizerTest, WithoutATokenizerOddSpaceIsPartOfAWordButNotOfTheTextsEnds) {
  TokenizerConfig config;
  config.bpe = "subword_nmt";
  TokenizerFiles files;
  files.bpe_codes = {"#version: 0.2\n", "codes"};
  const auto tokenizer = *SubwordTokenizer::Create(config, files);
  ASSERT_TRUE(tokenizer->cuts_at_spaces_only());
  EXPECT_THAT(tokenizer->Encode("\xC2\xA0 a\tb c\t d\xC2\xA0"),
              ElementsAre("a@@", "@@", "b", "c@@", "d"));
  EXPECT_THAT(tokenizer->Encode("a\t \t"), ElementsAre("a"));
  EXPECT_TRUE(tokenizer->Encode(" \t \t\n").empty());
  // A word that ends in such space is final when more text follows; there is an entry for each.
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  SourceTokenizer::Symbols early;
  tokenizer->AppendWord("a\t", &state, &ready);
  tokenizer->AppendWord("\t", &state, &ready);
  EXPECT_TRUE(ready.empty());
  tokenizer->PeekWord("\t", &state, &ready, &early);
  EXPECT_TRUE(ready.empty());
  tokenizer->PeekWord("\tb", &state, &ready, &early);
  EXPECT_THAT(ready, ElementsAre(ElementsAre("a@@"), ElementsAre()));
}

TEST(SubwordTokenizerTest, ADanglingPieceIsShownWithoutItsMark) {
  const auto tokenizer = Make("subword_nmt", "none", "");
  EXPECT_EQ(Decode(*tokenizer, "ab@@ c d@@"), "abc d");
  EXPECT_EQ(Decode(*tokenizer, "<s> a </s> @@ b"), "a b");
  EXPECT_EQ(Decode(*tokenizer, "a \xC2\xA0"), "a") << "white space at the end goes";
}

}  // namespace
}  // namespace leapstream
