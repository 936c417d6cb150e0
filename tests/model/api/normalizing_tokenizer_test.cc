#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_join.h"
#include "base/budget.h"
#include "model/api/model_config.h"
#include "model/api/tokenizer.h"
#include "model/api/tokenizers/normalizing_tokenizer.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {
namespace {

TEST(NormalizingTokenizerTest, WordsOneByOneGiveWhatTheWholeTextGives) {
  TokenizerConfig config;
  config.bpe = "none";
  config.tokenizer = "moses";
  config.moses_language = "en";
  auto moses = SubwordTokenizer::Create(config, {});
  ASSERT_TRUE(moses.ok()) << moses.status();
  const NormalizingTokenizer tokenizer(*std::move(moses), "en");
  std::mt19937 random(5);
  const std::vector<std::string> parts = {"a", "B", "5", ".", ",", "\"", "'", "(", ")", "%",
                                          ":", ";", "!", "`", "—", "。", "（", "\u200b", "½"};
  for (int n = 0; n < 5000; ++n) {
    std::vector<std::string> words;
    for (size_t i = random() % 6; i > 0; --i) {
      std::string word;
      for (size_t j = 1 + random() % 3; j > 0; --j) word += parts[random() % parts.size()];
      words.push_back(word);
    }
    TokenizerState state;
    std::vector<SourceTokenizer::Symbols> ready;
    for (const std::string& word : words) {
      TokenizerState copy = state;  // A copy goes on by itself.
      std::vector<SourceTokenizer::Symbols> unused;
      tokenizer.AppendWord("x", &copy, &unused);
      tokenizer.AppendWord(word, &state, &ready);
    }
    tokenizer.FinishWords(&state, &ready);
    EXPECT_EQ(words.size(), ready.size());
    std::vector<std::string> symbols;
    for (const auto& word : ready) symbols.insert(symbols.end(), word.begin(), word.end());
    ASSERT_EQ(tokenizer.Encode(absl::StrJoin(words, " ")), symbols) << absl::StrJoin(words, " ");
  }
}

TEST(NormalizingTokenizerTest, AWordWaitsForTheNextOneAlone) {
  TokenizerConfig config;
  config.bpe = "none";
  auto plain = SubwordTokenizer::Create(config, {});
  ASSERT_TRUE(plain.ok());
  const NormalizingTokenizer tokenizer(*std::move(plain), "en");
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  tokenizer.AppendWord("one", &state, &ready);
  EXPECT_EQ(0u, ready.size());
  tokenizer.AppendWord("two", &state, &ready);
  EXPECT_EQ(1u, ready.size());
  tokenizer.AppendWord(":", &state, &ready);
  EXPECT_EQ(1u, ready.size());
  tokenizer.AppendWord("three", &state, &ready);
  EXPECT_EQ(3u, ready.size());
  EXPECT_EQ(SourceTokenizer::Symbols{"two:"}, ready[1]);
  EXPECT_TRUE(ready[2].empty());
}

// Gives its words, which must have the size that a tokenizer is promised.
class WordsAsTheyAre final : public Tokenizer {
 public:
  void AppendWord(absl::string_view word, TokenizerState* /*state*/,
                  std::vector<Symbols>* ready) const override {
    EXPECT_LE(word.size(), budget::kWordBytes);
    ready->push_back({std::string(word)});
  }
  void FinishWords(TokenizerState* /*state*/, std::vector<Symbols>* /*ready*/) const override {}
  TargetBytes AppendSymbol(absl::string_view, TokenizerState*) const override { return {}; }
  TargetBytes FinishSymbols(TokenizerState*) const override { return {}; }
  std::vector<std::string> Encode(absl::string_view) const override { return {}; }
  std::string Decode(const std::vector<std::string>&) const override { return ""; }
};

TEST(NormalizingTokenizerTest, WordsThatAreJoinedAreFinalOnceTheyAreLong) {
  const NormalizingTokenizer tokenizer(std::make_unique<WordsAsTheyAre>(), "en");
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  constexpr size_t kWords = 20000;
  for (size_t i = 0; i < kWords; ++i) {
    tokenizer.AppendWord(":", &state, &ready);
    ASSERT_GE(ready.size() + budget::kWordBytes + 1, i);
  }
  for (int i = 0; i < 3; ++i) {
    std::string umlauts = "(";
    while (umlauts.size() + 1 < budget::kWordBytes) umlauts += "\xC3\xA4";
    tokenizer.AppendWord(umlauts + "(", &state, &ready);
  }
  tokenizer.FinishWords(&state, &ready);
  EXPECT_EQ(ready.size(), kWords + 3);
  std::string text;
  for (const auto& word : ready) text += absl::StrJoin(word, "");
  EXPECT_EQ(text.substr(0, kWords), std::string(kWords, ':'));
  EXPECT_EQ(text.size(), kWords + 3 * budget::kWordBytes);
}

}  // namespace
}  // namespace leapstream
