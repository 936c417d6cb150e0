#include "model/api/target_filter.h"

#include <random>
#include <utility>

#include <gtest/gtest.h>
#include "absl/strings/str_replace.h"

namespace leapstream {
namespace {

// One replacement after the other, as transformers does it.
std::string CleanUpNaive(std::string text) {
  const std::pair<const char*, const char*> patterns[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& pattern : patterns) text = absl::StrReplaceAll(text, {pattern});
  return text;
}

TEST(CleanUpTest, AnyChunkingGivesWhatReplacingInTheWholeTextGives) {
  std::mt19937 random(7);
  const std::string alphabet = " .'?!,nt'mvres  '' x\xC3\xA4";
  for (int n = 0; n < 20000; ++n) {
    std::string text;
    for (size_t i = random() % 16; i > 0; --i) text += alphabet[random() % alphabet.size()];
    std::string held, given;
    for (size_t i = 0; i < text.size();) {
      const size_t length = 1 + random() % 3;
      given += CleanUp(absl::string_view(text).substr(i, length), &held);
      i += length;
    }
    given += FinishCleanUp(&held);
    ASSERT_EQ(CleanUpNaive(text), given) << "[" << text << "]";
  }
}

// A tokenizer whose symbols are their own text.
class PlainTokenizer final : public Tokenizer {
 public:
  void AppendWord(absl::string_view, TokenizerState*, std::vector<Symbols>*) const override {}
  void FinishWords(TokenizerState*, std::vector<Symbols>*) const override {}
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState*) const override {
    return {std::string(symbol), false};
  }
  TargetBytes FinishSymbols(TokenizerState*) const override { return {}; }
  std::vector<std::string> Encode(absl::string_view) const override { return {}; }
  std::string Decode(const std::vector<std::string>& symbols) const override {
    std::string text;
    for (const std::string& symbol : symbols) text += symbol;
    return text;
  }
};

std::string Text(const ModelConfig& config, const std::vector<std::string>& symbols) {
  const auto tokenizer = FilterTarget(config, std::make_unique<PlainTokenizer>());
  TokenizerState state;
  std::string text;
  for (const std::string& symbol : symbols) text += tokenizer->AppendSymbol(symbol, &state).bytes;
  text += tokenizer->FinishSymbols(&state).bytes;
  EXPECT_EQ(text, tokenizer->Decode(symbols));
  return text;
}

TEST(FilterTargetTest, HiddenSymbolsAndLanguagesInFrontGiveNoText) {
  ModelConfig config;
  EXPECT_EQ(Text(config, {"a", "<unk>", "b"}), "a<unk>b");
  config.hidden_symbols = {"<unk>", "madeupword0000"};
  config.languages = {{"de", "__de__", "__de__"}};
  EXPECT_EQ(Text(config, {"a", "<unk>", "__de__", "madeupword0000", "b"}), "a__de__b");
  config.frame.forced = {"{target}"};
  EXPECT_EQ(Text(config, {"a", "<unk>", "__de__", "madeupword0000", "b"}), "ab");
  config.frame.forced = {};
  config.frame.start = "{target}";
  EXPECT_EQ(Text(config, {"__de__", "b"}), "b");
  config.target_tokenizer.clean_up = true;
  EXPECT_EQ(Text(config, {"a", " ", "<unk>", ".", " ", "'s", " "}), "a.'s ");
}

}  // namespace
}  // namespace leapstream
