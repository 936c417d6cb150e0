#include "model/api/tokenizers/moses_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/utf8.h"
#include "model/api/tokenizers/code_points.h"
#include "model/api/tokenizers/moses_classes.h"

namespace leapstream {
namespace {

// A run of n full stops is one character while the line is cut: kDots + n, a capital letter.
constexpr char32_t kDots = 0x110000;

// The words and the characters that the next word is tokenised with, so that a text of commas or
// of apostrophes takes linear time.
constexpr size_t kMostWords = budget::kContextWords;
constexpr size_t kMostCharacters = 2 * budget::kWordBytes;

bool IsControl(char32_t c) { return c < 0x20; }

// Drops first words of a context that is too large: all but half of what it may have. The last one
// stays, since its last character stands beside the next word's space.
void Shorten(MosesContext* context) {
  std::vector<std::u32string>& words = context->words;
  size_t characters = 0;
  for (const std::u32string& word : words) characters += word.size();
  if (words.size() < kMostWords && characters < kMostCharacters) return;
  size_t first = words.size();
  for (size_t kept = 0; first > 0 && words.size() - first < kMostWords / 2; --first) {
    kept += words[first - 1].size();
    if (kept > kMostCharacters / 2 && first < words.size()) break;
  }
  words.erase(words.begin(), words.begin() + static_cast<int64_t>(first));
  context->given -= first;
}

std::u32string WithoutControls(absl::string_view word) {
  std::u32string result = ToCodePoints(word);
  result.erase(std::remove_if(result.begin(), result.end(), IsControl), result.end());
  return result;
}

template <typename Word>
void ForEachPythonWord(absl::string_view text, const Word& word) {
  const std::u32string points = ToCodePoints(text);
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    while (end < points.size() && !IsPythonSpace(points[end])) ++end;
    if (end > begin) word(std::u32string_view(points).substr(begin, end - begin));
    begin = end + 1;
  }
}

void ReplaceAll(std::u32string_view from, std::u32string_view to, std::u32string* text) {
  for (size_t at = text->find(from); at != std::u32string::npos; at = text->find(from, at)) {
    text->replace(at, from.size(), to);
  }
}

}  // namespace

struct MosesTokenizer::Character {
  char32_t c = U' ';
  size_t word = 0;
};

struct MosesTokenizer::Token {
  std::u32string text;
  size_t word = 0;
};

absl::StatusOr<MosesTokenizer> MosesTokenizer::Create(Options options, absl::string_view prefixes,
                                                      absl::string_view name) {
  if (!IsUtf8(prefixes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected a list of non-breaking prefixes in UTF-8, but the bytes at offset ",
        Utf8PrefixBytes(prefixes), " are not; give Moses' nonbreaking_prefix.", options.language));
  }
  MosesTokenizer tokenizer;
  tokenizer.splits_before_apostrophe_ = options.language == "en";
  tokenizer.splits_after_apostrophe_ = options.language == "fr" || options.language == "it";
  tokenizer.options_ = std::move(options);
  const std::u32string_view numeric = U"#NUMERIC_ONLY#";
  for (size_t begin = 0; begin < prefixes.size();) {
    const size_t end = std::min(prefixes.find('\n', begin), prefixes.size());
    std::vector<std::u32string> fields;
    ForEachPythonWord(prefixes.substr(begin, end - begin),
                [&fields](std::u32string_view field) { fields.emplace_back(field); });
    begin = end + 1;
    if (fields.empty() || fields[0][0] == U'#') continue;
    if (fields.size() > 1 && fields[1] == numeric) {
      tokenizer.numeric_prefixes_.insert(std::move(fields[0]));
    } else if (fields.size() == 1) {
      tokenizer.prefixes_.insert(std::move(fields[0]));
    }
  }
  return tokenizer;
}

bool MosesTokenizer::IsAlphabetic(char32_t c) const {
  return c >= kDots || moses::IsAlphabetic(c, options_.language);
}

bool MosesTokenizer::IsAlphanumeric(char32_t c) const {
  return IsAlphabetic(c) || moses::IsDigit(c);
}

// Whether the first character of the next word may change the tokens of this one.
bool MosesTokenizer::WaitsForNext(const std::u32string& word) const {
  return word.back() == U'.' ||
         (word.back() == U'\'' && (splits_before_apostrophe_ || splits_after_apostrophe_));
}

MosesTokenizer::Line MosesTokenizer::Separate(const Line& line) const {
  constexpr std::u32string_view kLater = U" .'`,-";
  Line result;
  for (const Character& x : line) {
    if (IsAlphanumeric(x.c) || kLater.find(x.c) != std::u32string_view::npos) {
      result.push_back(x);
    } else {
      result.insert(result.end(), {{}, x, {}});
    }
  }
  return result;
}

MosesTokenizer::Line MosesTokenizer::SplitDashes(const Line& line) const {
  Line result;
  for (size_t i = 0; i < line.size(); ++i) {
    const Character& x = line[i];
    if (x.c == U'-' && i > 0 && i + 1 < line.size() && IsAlphanumeric(line[i - 1].c) &&
        IsAlphanumeric(line[i + 1].c)) {
      result.insert(result.end(), {{}, {U'@', x.word}, x, {U'@', x.word}, {}});
    } else {
      result.push_back(x);
    }
  }
  return result;
}

MosesTokenizer::Line MosesTokenizer::GroupDots(const Line& line) {
  Line result;
  for (size_t i = 0; i < line.size();) {
    size_t end = i;
    while (end < line.size() && line[end].c == U'.') ++end;
    if (end - i < 2) {
      result.push_back(line[i++]);
      continue;
    }
    result.insert(result.end(), {{}, {kDots + static_cast<char32_t>(end - i), line[i].word}});
    if (end < line.size()) result.push_back({});
    i = end;
  }
  return result;
}

MosesTokenizer::Line MosesTokenizer::SplitCommas(const Line& line) {
  // A comma after something that is no number; the character before it is used up.
  Line before;
  for (size_t i = 0; i < line.size();) {
    before.push_back(line[i]);
    if (i + 1 < line.size() && line[i + 1].c == U',' && !moses::IsNumber(line[i].c)) {
      before.insert(before.end(), {{}, line[i + 1], {}});
      ++i;
    }
    ++i;
  }
  // A comma before something that is no number, which is used up.
  Line after;
  for (size_t i = 0; i < before.size();) {
    if (i + 1 < before.size() && before[i].c == U',' && !moses::IsNumber(before[i + 1].c)) {
      after.insert(after.end(), {{}, before[i], {}, before[i + 1]});
      i += 2;
    } else {
      after.push_back(before[i++]);
    }
  }
  // A comma at the end of the text, after a number.
  const size_t size = after.size();
  if (size >= 2 && after[size - 1].c == U',' && moses::IsNumber(after[size - 2].c)) {
    after.insert(after.end() - 1, Character());
  }
  return after;
}

MosesTokenizer::Line MosesTokenizer::SplitApostrophes(const Line& line) const {
  if (!splits_before_apostrophe_ && !splits_after_apostrophe_) {
    Line result;
    for (const Character& x : line) {
      if (x.c == U'\'') {
        result.insert(result.end(), {{}, x, {}});
      } else {
        result.push_back(x);
      }
    }
    return result;
  }
  // One pass for each rule. A match uses up both neighbours.
  Line result = line;
  const auto pass = [&result](const auto& left, const auto& right, bool space_before,
                              bool space_after) {
    Line next;
    for (size_t i = 0; i < result.size();) {
      next.push_back(result[i]);
      if (i + 2 < result.size() && result[i + 1].c == U'\'' && left(result[i].c) &&
          right(result[i + 2].c)) {
        if (space_before) next.push_back({});
        next.push_back(result[i + 1]);
        if (space_after) next.push_back({});
        next.push_back(result[i + 2]);
        i += 2;
      }
      ++i;
    }
    result = std::move(next);
  };
  const auto letter = [this](char32_t c) { return IsAlphabetic(c); };
  const auto other = [this](char32_t c) { return !IsAlphabetic(c); };
  const bool english = splits_before_apostrophe_;
  pass(other, other, true, true);
  pass([&](char32_t c) { return other(c) && !(english && moses::IsNumber(c)); }, letter, true,
       true);
  pass(letter, other, true, true);
  pass(letter, letter, english, !english);
  if (english) {
    pass(moses::IsNumber, [](char32_t c) { return c == U's'; }, true, false);
  }
  return result;
}

bool MosesTokenizer::KeepsDot(std::u32string_view stem, const Token* next) const {
  const auto letter = [this](char32_t c) { return IsAlphabetic(c); };
  if (stem.find(U'.') != std::u32string_view::npos &&
      std::any_of(stem.begin(), stem.end(), letter)) {
    return true;
  }
  if (next != nullptr && moses::IsLower(next->text[0])) return true;
  const std::u32string prefix(stem);
  if (!numeric_prefixes_.contains(prefix)) return prefixes_.contains(prefix);
  return next != nullptr && next->text[0] >= U'0' && next->text[0] <= U'9';
}

std::vector<MosesTokenizer::Token> MosesTokenizer::SplitDots(const Line& line) const {
  std::vector<Token> tokens;
  bool open = false;
  for (const Character& x : line) {
    if (x.c == U' ') {
      open = false;
      continue;
    }
    if (!std::exchange(open, true)) tokens.push_back({{}, x.word});
    tokens.back().text.push_back(x.c);
  }
  std::vector<Token> result;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const std::u32string_view text = token.text;
    const std::u32string_view stem = text.substr(0, text.size() - 1);
    const Token* const next = i + 1 < tokens.size() ? &tokens[i + 1] : nullptr;
    if (text.back() != U'.' || stem.empty() || KeepsDot(stem, next)) {
      result.push_back(token);
    } else {
      result.push_back({std::u32string(stem), token.word});
      result.push_back({U".", token.word});
    }
  }
  // A full stop and an apostrophe at the end of the text are two tokens.
  if (!result.empty()) {
    Token& last = result.back();
    const size_t size = last.text.size();
    if (size >= 2 && last.text[size - 2] == U'.' && last.text[size - 1] == U'\'') {
      const size_t word = last.word;
      last.text.resize(size - 2);
      if (last.text.empty()) result.pop_back();
      result.push_back({U".", word});
      result.push_back({U"'", word});
    }
  }
  return result;
}

std::string MosesTokenizer::Escape(std::u32string_view token) const {
  std::u32string text;
  for (const char32_t c : token) {
    if (c >= kDots) {
      text.append(c - kDots, U'.');
    } else {
      text.push_back(c);
    }
  }
  // The words that the package marks runs of full stops with are not safe from it.
  ReplaceAll(U"DOTDOTMULTI", U"DOTMULTI.", &text);
  ReplaceAll(U"DOTMULTI", U".", &text);
  if (!options_.escape) return ToUtf8(text);
  std::u32string escaped;
  for (const char32_t c : text) {
    switch (c) {
      case U'&': escaped += U"&amp;"; break;
      case U'|': escaped += U"&#124;"; break;
      case U'<': escaped += U"&lt;"; break;
      case U'>': escaped += U"&gt;"; break;
      case U'\'': escaped += U"&apos;"; break;
      case U'"': escaped += U"&quot;"; break;
      case U'[': escaped += U"&#91;"; break;
      case U']': escaped += U"&#93;"; break;
      default: escaped.push_back(c);
    }
  }
  return ToUtf8(escaped);
}

std::vector<MosesTokenizer::Tokens> MosesTokenizer::TokenizeWords(
    absl::Span<const std::u32string> words) const {
  Line line;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) line.push_back({});
    for (const char32_t c : words[i]) line.push_back({c, i});
  }
  // Words of control characters leave spaces at the ends, which are stripped.
  const auto is_space = [](const Character& x) { return x.c == U' '; };
  line.erase(line.begin(), std::find_if_not(line.begin(), line.end(), is_space));
  while (!line.empty() && is_space(line.back())) line.pop_back();
  line = Separate(line);
  if (options_.dash_splits) line = SplitDashes(line);
  line = SplitApostrophes(SplitCommas(GroupDots(line)));
  std::vector<Tokens> result(words.size());
  for (const Token& token : SplitDots(line)) result[token.word].push_back(Escape(token.text));
  return result;
}

std::vector<MosesTokenizer::Tokens> MosesTokenizer::Tokenize(absl::string_view text) const {
  std::vector<std::u32string> words;
  ForEachPythonWord(text, [&words](std::u32string_view word) {
    words.push_back(WithoutControls(ToUtf8(word)));
  });
  return TokenizeWords(words);
}

void MosesTokenizer::Give(char32_t next, MosesContext* context,
                          std::vector<Tokens>* ready) const {
  if (context->given == context->words.size()) return;
  std::vector<std::u32string> words = context->words;
  if (next != 0) words.push_back({next, U'A'});
  std::vector<Tokens> tokens = TokenizeWords(words);
  for (; context->given < context->words.size(); ++context->given) {
    ready->push_back(std::move(tokens[context->given]));
  }
}

void MosesTokenizer::AppendWord(absl::string_view text, MosesContext* context,
                                std::vector<Tokens>* ready) const {
  std::vector<std::u32string>& words = context->words;
  std::u32string word = WithoutControls(text);
  if (word.empty()) {  // It is neither the last nor the next word of the others.
    if (context->given < words.size()) {
      words.push_back(std::move(word));
      if (words.size() - context->given > kMostWords) Give(U'A', context, ready);
      return;
    }
    ready->push_back({});
    // Two spaces are as good as more of them, and at the text's start there are none.
    if (words.empty() || words.back().empty()) return;
    words.push_back(std::move(word));
    ++context->given;
    return;
  }
  Peek(text, context, ready);
  // Only a comma or an apostrophe wants the space before it, which an earlier match may have used
  // up. The tokens of all other words say nothing of the words before them.
  if (word[0] != U',' && word[0] != U'\'') *context = MosesContext();
  Shorten(context);
  const bool waits = WaitsForNext(word);
  words.push_back(std::move(word));
  if (!waits) Give(U'A', context, ready);
}

void MosesTokenizer::Peek(absl::string_view beginning, MosesContext* context,
                          std::vector<Tokens>* ready) const {
  if (context->given == context->words.size()) return;
  const std::u32string word = WithoutControls(beginning);
  if (!word.empty()) Give(word[0], context, ready);
}

void MosesTokenizer::Finish(MosesContext* context, std::vector<Tokens>* ready) const {
  Give(0, context, ready);
  *context = MosesContext();
}

}  // namespace leapstream
