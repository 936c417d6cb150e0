// Compares the tokenizers with what sacremoses, subword-nmt and fairseq gave: tests/golden/tokenise.
#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/utf8.h"
#include "model/api/model_config.h"
#include "model/api/tokenizers/code_points.h"
#include "model/api/tokenizers/moses_classes.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

std::string File(const std::string& name) {
  std::ifstream in(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/tokenise/", name));
  EXPECT_TRUE(in.good()) << "missing golden " << name;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<json> Rows(const std::string& name) {
  std::vector<json> rows;
  for (const auto line : absl::StrSplit(File(name), '\n', absl::SkipEmpty())) {
    rows.push_back(json::parse(line.begin(), line.end()));
  }
  return rows;
}

// The codes of the golden's column: "v02", "v01", "fastbpe" or "v02_vocab50".
TokenizerConfig ConfigOf(const std::string& codes) {
  TokenizerConfig config;
  config.bpe = codes == "fastbpe" ? "fastbpe" : "subword_nmt";
  if (codes == "v02_vocab50") config.bpe_vocabulary_threshold = 50;
  return config;
}

// Each tokenizer is made once.
const SubwordTokenizer* Make(const TokenizerConfig& config, const std::string& codes) {
  static auto* const made =
      new std::map<std::string, std::unique_ptr<const SubwordTokenizer>>();
  std::unique_ptr<const SubwordTokenizer>& tokenizer = (*made)[absl::StrCat(
      config.bpe, " ", config.tokenizer, " ", config.moses_language, " ",
      config.moses_no_dash_splits, " ", config.moses_no_escape, " ", codes)];
  if (tokenizer != nullptr) return tokenizer.get();
  static auto* const files = new std::map<std::string, std::string>();
  const auto read = [](const std::string& name) -> TokenizerFile {
    const auto [it, added] = files->try_emplace(name);
    if (added) it->second = File(name);
    return {it->second, name};
  };
  TokenizerFiles given;
  if (!codes.empty()) given.bpe_codes = read("codes." + codes.substr(0, codes.find('_')));
  if (config.bpe_vocabulary_threshold > 0) given.bpe_vocabulary = read("vocab.en");
  if (config.tokenizer == "moses") {
    given.prefixes = read(absl::StrCat("prefixes.", config.moses_language, ".txt"));
  }
  auto created = SubwordTokenizer::Create(config, given);
  EXPECT_TRUE(created.ok()) << created.status();
  tokenizer = *std::move(created);
  return tokenizer.get();
}

// The tokenizer of a row of lines.jsonl. `codes` is empty: without BPE.
const SubwordTokenizer* Make(const json& row, const std::string& codes) {
  TokenizerConfig config = ConfigOf(codes);
  if (codes.empty()) config.bpe = "none";
  config.tokenizer = row["tokenizer"];
  config.moses_language = row["lang"];
  if (config.tokenizer == "moses") {
    config.moses_no_dash_splits = !row["aggressive_dash_splits"].get<bool>();
    config.moses_no_escape = !row["escape"].get<bool>();
  }
  return Make(config, codes);
}

// Whether a text has white space that fairseq keeps if there is no tokenizer; here all white space
// between words counts as one space.
bool HasOddSpace(const std::string& text) {
  if (text.find("  ") != std::string::npos) return true;
  for (const char32_t c : ToCodePoints(text)) {
    if (c != U' ' && IsPythonSpace(c)) return true;
  }
  return false;
}

TEST(TokeniseGoldenTest, ClassesAreThoseOfTheReference) {
  const json classes = json::parse(File("classes.json"));
  const auto compare = [&classes](const std::vector<std::string>& names, auto is_in) {
    std::vector<bool> wanted(0x110000, false);
    for (const std::string& name : names) {
      for (const auto& range : classes.at(name)) {
        for (int c = range[0]; c <= range[1]; ++c) wanted[c] = true;
      }
    }
    for (char32_t c = 0; c < 0x110000; ++c) {
      ASSERT_EQ(wanted[c], is_in(c)) << absl::StrJoin(names, "+") << " U+" << std::hex << int(c);
    }
  };
  const auto alphabetic = [](const char* language) {
    return [language](char32_t c) { return moses::IsAlphabetic(c, language); };
  };
  compare({"AL"}, alphabetic("en"));
  compare({"AL", "AN_extra_zh"}, alphabetic("zh"));
  compare({"AL", "AN_extra_ja"}, alphabetic("ja"));
  compare({"AL", "AN_extra_ko"}, alphabetic("ko"));
  compare({"AN"}, [](char32_t c) { return moses::IsAlphabetic(c, "de") || moses::IsDigit(c); });
  compare({"N"}, moses::IsNumber);
  compare({"LO"}, moses::IsLower);
  compare({"SC"}, moses::IsCurrency);
  compare({"AL_detok"}, moses::IsLetter);
  compare({"CJK_detok"}, moses::IsEastAsian);
}

TEST(TokeniseGoldenTest, LinesBecomeTheSameTokensAndSymbols) {
  int compared = 0;
  for (const json& row : Rows("lines.jsonl")) {
    const std::string text = row["text"];
    SCOPED_TRACE(absl::StrCat(row["id"].get<std::string>(), " ", row["lang"].get<std::string>(),
                              ": ", text));
    if (row.count("tokens") > 0) {
      EXPECT_EQ(row["tokens"].get<Strings>(), Make(row, "")->Encode(text));
    }
    if (row["tokenizer"] == "none" && HasOddSpace(text)) continue;
    for (const auto& [codes, symbols] : row["bpe"].items()) {
      EXPECT_EQ(symbols.get<Strings>(), Make(row, codes)->Encode(text)) << codes;
      ++compared;
    }
    EXPECT_EQ(row["detokenised"].get<std::string>(),
              Make(row, "v02")->Decode(row["bpe"]["v02"].get<Strings>()));
  }
  EXPECT_GT(compared, 2000);
}

TEST(TokeniseGoldenTest, WordsBecomeTheSameSymbols) {
  for (const char* codes : {"v02", "v01", "fastbpe", "v02_vocab50"}) {
    const std::string name = codes;
    auto parsed = BpeCodes::Parse(File("codes." + name.substr(0, name.find('_'))),
                                  name == "fastbpe" ? BpeCodes::Format::kFastBpe
                                                    : BpeCodes::Format::kSubwordNmt,
                                  name);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    if (name == "v02_vocab50") {
      ASSERT_TRUE(parsed->SetVocabulary(File("vocab.en"), 50, "vocab.en").ok());
    }
    for (const json& row : Rows("words.jsonl")) {
      const json& symbols = row.at(name);
      EXPECT_EQ(symbols.get<Strings>(), parsed->Symbols(row["word"].get<std::string>())) << codes;
    }
  }
}

TEST(TokeniseGoldenTest, CharactersAndBytesAreTheSame) {
  for (const json& row : Rows("bytes.jsonl")) {
    TokenizerConfig config;
    config.bpe = row["bpe"];
    const auto tokenizer = Make(config, "");
    if (!row["text"].is_null() && !HasOddSpace(row["text"].get<std::string>())) {
      EXPECT_EQ(row["symbols"].get<Strings>(), tokenizer->Encode(row["text"].get<std::string>()))
          << row["text"];
    }
    EXPECT_EQ(row["decoded"].get<std::string>(), tokenizer->Decode(row["symbols"].get<Strings>()))
        << row["text"];
  }
}

// Feeds a text a character at a time, as a session does. After each character: how many tokens are
// out.
struct Fed {
  std::vector<size_t> out;
  Strings symbols;
};
Fed Feed(const SubwordTokenizer& tokenizer, const std::string& text) {
  Fed fed;
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  SourceTokenizer::Symbols early;
  std::u32string word;
  const auto take = [&] {
    for (auto& symbols : ready) fed.symbols.insert(fed.symbols.end(), symbols.begin(), symbols.end());
    ready.clear();
  };
  for (const char32_t c : ToCodePoints(text)) {
    if (!IsPythonSpace(c)) {
      word.push_back(c);
      tokenizer.PeekWord(ToUtf8(word), &state, &ready, &early);
    } else if (!word.empty()) {
      tokenizer.AppendWord(ToUtf8(word), &state, &ready);
      word.clear();
    }
    take();
    fed.out.push_back(fed.symbols.size());
  }
  if (!word.empty()) tokenizer.AppendWord(ToUtf8(word), &state, &ready);
  tokenizer.FinishWords(&state, &ready);
  take();
  EXPECT_TRUE(early.empty());
  return fed;
}

TEST(TokeniseGoldenTest, SourceTokensComeOutAsEarlyAsTheReferenceAllows) {
  int rows = 0;
  for (const json& row : Rows("lines.jsonl")) {
    if (row.count("stream") == 0) continue;
    ++rows;
    const std::string text = row["text"];
    SCOPED_TRACE(absl::StrCat(row["id"].get<std::string>(), ": ", text));
    const Fed tokens = Feed(*Make(row, ""), text);
    const Fed symbols = Feed(*Make(row, "v02"), text);
    EXPECT_EQ(row["tokens"].get<Strings>(), tokens.symbols);
    EXPECT_EQ(row["bpe"]["v02"].get<Strings>(), symbols.symbols);
    json stream = json::array();
    for (size_t i = 0; i < tokens.out.size(); ++i) {
      const bool changed = i == 0 ? tokens.out[0] > 0 : tokens.out[i] != tokens.out[i - 1];
      if (changed) stream.push_back({i + 1, tokens.out[i], symbols.out[i]});
    }
    EXPECT_EQ(row["stream"].dump(), stream.dump());
  }
  EXPECT_EQ(200, rows);
}

TEST(TokeniseGoldenTest, TargetTextComesOutAsEarlyAsTheReferenceAllows) {
  int symbols_compared = 0;
  for (const json& row : Rows("detok.jsonl")) {
    SCOPED_TRACE(row["id"].get<std::string>());
    TokenizerConfig config = ConfigOf("v02");
    config.tokenizer = "moses";
    config.moses_language = row["lang"];
    TokenizerFiles files;
    const auto made = *SubwordTokenizer::Create(config, files);
    const SubwordTokenizer* const tokenizer = made.get();
    const Strings symbols = row["symbols"];
    const std::string text = row["text"];
    if (row["lang"] != "cs") {
      EXPECT_EQ(text, tokenizer->Decode(symbols));
    }
    if (row.count("safe_word") == 0) continue;
    TokenizerState state;
    std::string out;
    for (size_t i = 0; i < symbols.size(); ++i) {
      out += tokenizer->AppendSymbol(symbols[i], &state).bytes;
      ASSERT_EQ(text.substr(0, out.size()), out);
      const int shown = static_cast<int>(ToCodePoints(out).size());
      const int safe = row["safe_word"][i], most = row["max_piece"][i];
      const bool word = symbols[i].size() < 2 || symbols[i].substr(symbols[i].size() - 2) != "@@";
      if (word) {
        ASSERT_EQ(safe, shown) << "after symbol " << i << " " << symbols[i];
      } else {
        ASSERT_LE(safe, shown) << "after symbol " << i << " " << symbols[i];
        ASSERT_GE(most, shown) << "after symbol " << i << " " << symbols[i];
      }
      ++symbols_compared;
    }
  }
  EXPECT_GT(symbols_compared, 1900);
}

// Continuations of all beginnings never change what is out.
TEST(TokeniseGoldenTest, NoContinuationChangesATokenThatIsOut) {
  std::mt19937 random(7);
  const Strings words = {"U.S.", "'",   "a'",  "'s",  ",",    "5,",   "No.", "x,y", "..",   "'.",
                         "lower", "5",  "A",   "-",   "a-b",  "l'eau", "\x01", ".'", "...,", "\"q\"",
                         "z.B.",  "'a", ",,",  "''",  "5's",  "d'",   "(",   "B.",  "\x02.", "é."};
  for (const char* language : {"en", "de", "fr", "xx"}) {
    TokenizerConfig config;
    config.bpe = "none";
    config.tokenizer = "moses";
    config.moses_language = language;
    const SubwordTokenizer* const tokenizer = Make(config, "");
    const auto moses = MosesTokenizer::Create(
        {language, true, true}, File(absl::StrCat("prefixes.", language, ".txt")), "prefixes");
    for (int round = 0; round < 1000; ++round) {
      Strings text;
      for (int n = 1 + static_cast<int>(random() % 7); n > 0; --n) {
        text.push_back(words[random() % words.size()]);
      }
      const std::string whole = absl::StrJoin(text, " ");
      Strings tokens;
      for (const auto& word : moses->Tokenize(whole)) {
        tokens.insert(tokens.end(), word.begin(), word.end());
      }
      EXPECT_EQ(Feed(*tokenizer, whole).symbols, tokens) << language << ": " << whole;
    }
  }
}

}  // namespace
}  // namespace leapstream
