#include "absl/strings/str_cat.h"
#include "streaming/word_source.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "streaming/text_segment.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;

constexpr char kThe[] = "\xe2\x96\x81the";  // U+2581

// A tokenizer that has to see one word ahead. Each word is one symbol: "the" if the next word
// begins with "the", otherwise "in". U+2581 stands before it, unless the word is the first one.
class LookAhead final : public Tokenizer {
 public:
  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override {
    if (!state->held.empty()) Emit(word.substr(0, 3) == "the", state, ready);
    state->held = std::string(word);
  }
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override {
    if (!state->held.empty()) Emit(false, state, ready);
    state->held.clear();
  }
  TargetBytes AppendSymbol(absl::string_view, TokenizerState*) const override { return {}; }
  TargetBytes FinishSymbols(TokenizerState*) const override { return {}; }
  std::vector<std::string> Encode(absl::string_view) const override { return {}; }
  std::string Decode(const std::vector<std::string>&) const override { return ""; }

 private:
  static void Emit(bool the, TokenizerState* state, std::vector<Symbols>* ready) {
    const std::string symbol = the ? "the" : "in";
    ready->push_back({(state->begun ? "\xe2\x96\x81" : "") + symbol});
    state->begun = true;
  }
};

// A tokenizer of one symbol for each character. In a word with U+6F22, all characters but the last
// one are final before the word is complete.
class ByCharacter final : public Tokenizer {
 public:
  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override {
    Symbols symbols = Encode(word);
    symbols.erase(symbols.begin(), symbols.begin() + state->held.size());
    state->held.clear();
    ready->push_back(std::move(symbols));
  }
  int64_t PeekWord(absl::string_view beginning, TokenizerState* state, std::vector<Symbols>*,
                   Symbols* early) const override {
    if (beginning.find("\xE6\xBC\xA2") == absl::string_view::npos) return 0;
    const Symbols symbols = Encode(beginning);
    while (state->held.size() + 1 < symbols.size()) {
      early->push_back(symbols[state->held.size()]);
      state->held.push_back('.');
    }
    return static_cast<int64_t>(beginning.size());
  }
  void FinishWords(TokenizerState*, std::vector<Symbols>*) const override {}
  TargetBytes AppendSymbol(absl::string_view, TokenizerState*) const override { return {}; }
  TargetBytes FinishSymbols(TokenizerState*) const override { return {}; }
  std::vector<std::string> Encode(absl::string_view text) const override {
    std::vector<std::string> symbols;
    for (const char c : text) {
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) symbols.emplace_back();
      symbols.back().push_back(c);
    }
    return symbols;
  }
  std::string Decode(const std::vector<std::string>&) const override { return ""; }
};

class WordSourceTest : public testing::Test {
 protected:
  WordSourceTest() : model_(std::const_pointer_cast<Model>(FakeModel())) {}
  // Pops all words that there are, as the symbols of their tokens.
  std::vector<std::string> Pop(WordSource& source) {
    std::vector<std::string> words;
    while (true) {
      SourceWord word;
      const absl::StatusOr<bool> popped = source.PopWord(&work_, &word);
      EXPECT_TRUE(popped.ok()) << popped.status();
      if (!popped.ok() || !*popped) return words;
      std::string symbols;
      for (const TokenId id : word.tokens) absl::StrAppend(&symbols, model_->source_vocabulary.Symbol(id));
      words.push_back(symbols);
      places_.push_back(word.at);
    }
  }
  void Append(WordSource& source, SourceInput input, SourcePosition at = {}) {
    EXPECT_TRUE(source.Append(std::move(input), at, &work_).ok());
  }

  const std::shared_ptr<Model> model_;
  std::vector<SourcePosition> places_;
  int64_t work_ = 1 << 30;
};

TEST_F(WordSourceTest, WordsAndTheirPlacesAreThoseOfTheText) {
  WordSource source(*model_, true);
  Append(source, std::string(" the "), {0, 0});
  Append(source, std::string("t"), {1, 10});
  Append(source, std::string("he  the"), {2, 20});
  EXPECT_THAT(Pop(source), ElementsAre(kThe, kThe));
  EXPECT_EQ(places_[0].samples, 1);
  EXPECT_EQ(places_[1].chunks, 1);
  EXPECT_EQ(places_[1].samples, 10);
  EXPECT_EQ(source.rest_at().chunks, 2);
  EXPECT_EQ(source.rest_at().samples, 20 + 4) << "white space is no source";
  source.Close();
  EXPECT_THAT(Pop(source), ElementsAre(kThe));
  EXPECT_EQ(places_[2].samples, 20 + 4);
}

TEST_F(WordSourceTest, AnyChunkingGivesTheSameTokensWhateverTheTokenizerHolds) {
  const std::string text = " the fox the the  in then an";
  for (const bool ahead : {false, true}) {
    if (ahead) model_->source_tokenizer = std::make_unique<LookAhead>();
    std::mt19937 random(23);
    std::vector<std::string> expected;
    std::vector<int64_t> expected_at;
    for (int round = 0; round < 300; ++round) {
      WordSource source(*model_, true);
      std::vector<std::string> words;
      std::vector<int64_t> at, begins;
      places_.clear();
      const auto pop = [&] {
        for (std::string& word : Pop(source)) words.push_back(std::move(word));
      };
      for (size_t begin = 0; begin < text.size();) {
        const size_t size = round == 0 ? text.size() : 1 + random() % 5;
        Append(source, text.substr(begin, size), {static_cast<int64_t>(begins.size()), 0});
        begins.push_back(static_cast<int64_t>(begin));
        begin += size;
        if (random() % 2 == 0) pop();
      }
      source.Close();
      pop();
      for (const SourcePosition& place : places_) {
        at.push_back(begins[place.chunks] + place.samples);
      }
      if (round == 0) expected = words;
      if (round == 0) expected_at = at;
      ASSERT_EQ(words, expected);
      ASSERT_EQ(at, expected_at);
    }
    EXPECT_THAT(expected_at, ElementsAre(1, 5, 9, 13, 18, 21, 26));
    if (ahead) {
      EXPECT_THAT(expected, ElementsAre("in", kThe, kThe, "\xe2\x96\x81in", kThe, "\xe2\x96\x81in",
                                        "\xe2\x96\x81in"));
    }
  }
}

TEST_F(WordSourceTest, AWordThatTheTokenizerHoldsIsPartOfTheRest) {
  model_->source_tokenizer = std::make_unique<LookAhead>();
  WordSource source(*model_, true);
  Append(source, std::string("fox the and"), {4, 0});
  EXPECT_EQ(Pop(source).size(), 1u);
  EXPECT_EQ(source.rest_at().samples, 4) << "\"the\" is not final";
  EXPECT_EQ(source.DropRest(), 6) << "white space is no source";
  source.Open();
  Append(source, std::string("the "));
  source.Close();
  EXPECT_THAT(Pop(source), ElementsAre("in")) << "nothing is left of the segment before";
}

TEST_F(WordSourceTest, AWordWithoutSpacesComesInPartsAndAnyChunkingGivesTheSame) {
  model_->source_tokenizer = std::make_unique<ByCharacter>();
  model_->source_vocabulary =
      *Vocabulary::Parse("\xE6\xBC\xA2 1\n\xE5\xAD\x97 1\na 1\nb 1\n", "dict.txt");
  const std::string text =
      " ab \xE6\xBC\xA2\xE5\xAD\x97"
      "ab\xE6\xBC\xA2 b\xE5\xAD\x97\xE6\xBC\xA2 a";
  std::mt19937 random(5);
  bool parts = false;
  for (int round = 0; round < 300; ++round) {
    WordSource source(*model_, true);
    std::vector<std::string> words;
    std::vector<int64_t> begins;
    bool open = false;
    const auto pop = [&] {
      while (true) {
        SourceWord word;
        const absl::StatusOr<bool> popped = source.PopWord(&work_, &word);
        ASSERT_TRUE(popped.ok());
        if (!*popped) break;
        EXPECT_EQ(open, word.continued);
        parts = parts || word.open;
        open = word.open;
        std::string symbols;
        for (const TokenId id : word.tokens) {
          absl::StrAppend(&symbols, model_->source_vocabulary.Symbol(id));
        }
        if (word.continued) {
          words.back() += symbols;
        } else {
          words.push_back(absl::StrCat(begins[word.at.chunks] + word.at.samples,
                                       word.unspaced ? "u " : " ", symbols));
        }
      }
    };
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = 1 + random() % 6;
      Append(source, text.substr(begin, size), {static_cast<int64_t>(begins.size()), 0});
      begins.push_back(static_cast<int64_t>(begin));
      begin += size;
      if (random() % 3 != 0) pop();
    }
    source.Close();
    pop();
    EXPECT_FALSE(open);
    ASSERT_THAT(words, ElementsAre("1 ab", "4u \xE6\xBC\xA2\xE5\xAD\x97"
                                           "ab\xE6\xBC\xA2",
                                   "16u b\xE5\xAD\x97\xE6\xBC\xA2", "24 a"));
  }
  EXPECT_TRUE(parts);
}

// A translation that ends within such a word: the next segment goes on within it, and a resumed one
// skips the same tokens.
TEST_F(WordSourceTest, ASegmentThatEndsWithinAWordWithoutSpacesContinuesThere) {
  model_->source_tokenizer = std::make_unique<ByCharacter>();
  model_->source_vocabulary =
      *Vocabulary::Parse("\xE6\xBC\xA2 1\n\xE5\xAD\x97 1\na 1\nb 1\n", "dict.txt");
  const std::vector<std::string> characters = {"a", " ", "\xE6\xBC\xA2", "\xE5\xAD\x97", "b",
                                               "a", "b", "\xE6\xBC\xA2"};
  SessionOptions options;
  options.next_segments = true;
  for (size_t known = 4; known <= characters.size(); ++known) {
    TextSegment segment(options, *model_, Frame(), ResumeFrom());
    segment.Open();
    for (size_t i = 0; i < known; ++i) {
      ASSERT_TRUE(segment.Append(characters[i], {0, static_cast<int64_t>(3 * i)}, &work_).ok());
    }
    for (int read = 0; read < 2; ++read) {
      ASSERT_EQ(*segment.NextRead(&work_), SegmentSource::Next::kRead);
    }
    segment.ForgetReads();
    const SourceLeft left = segment.Leave(2);
    ASSERT_TRUE(left.continues_at.has_value());
    EXPECT_EQ(left.continues_at->samples, 6) << known;
    EXPECT_EQ(left.continues_after_tokens, 1) << known;
    segment.OpenWithRest();
    for (size_t i = known; i < characters.size(); ++i) {
      ASSERT_TRUE(segment.Append(characters[i], {0, static_cast<int64_t>(3 * i)}, &work_).ok());
    }
    segment.Close();
    ResumeFrom from;
    from.in_text = left.continues_in_text;
    from.skip_tokens = 1;
    TextSegment resumed(options, *model_, Frame(), from);
    resumed.Open();
    for (size_t i = 2; i < characters.size(); ++i) {
      ASSERT_TRUE(resumed.Append(characters[i], {0, static_cast<int64_t>(3 * i)}, &work_).ok());
      ASSERT_NE(*resumed.NextRead(&work_), SegmentSource::Next::kNone);
    }
    resumed.Close();
    for (TextSegment* each : {&segment, &resumed}) {
      while (*each->NextRead(&work_) == SegmentSource::Next::kRead) continue;
      EXPECT_THAT(each->due_rows(nullptr).tokens, ElementsAre(5, 7, 6, 7, 4, kEndOfSentence));
      EXPECT_EQ(each->words()->words(), 1);
    }
  }
}

}  // namespace
}  // namespace leapstream
