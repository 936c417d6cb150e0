#include "model/api/tokenizers/moses_detokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "model/api/tokenizers/code_points.h"
#include "model/api/tokenizers/moses_classes.h"

namespace leapstream {
namespace {

constexpr std::u32string_view kJoin = U"@-@";
constexpr std::u32string_view kClosing = U",.?!:;\\%}])";
constexpr std::u32string_view kSpacedInFrench = U"?!:;\\%";
constexpr std::u32string_view kOpening = U"([{\u00BF\u00A1";
constexpr std::u32string_view kQuotes = U"'\"\u201E\u201C`";

struct Entity {
  std::u32string_view name;
  char32_t c;
};
constexpr Entity kEntities[] = {{U"&bar;", U'|'},   {U"&#124;", U'|'}, {U"&lt;", U'<'},
                                {U"&gt;", U'>'},    {U"&bra;", U'['},  {U"&ket;", U']'},
                                {U"&quot;", U'"'},  {U"&apos;", U'\''}, {U"&#91;", U'['},
                                {U"&#93;", U']'},   {U"&amp;", U'&'}};

bool IsOneOf(std::u32string_view set, char32_t c) {
  return set.find(c) != std::u32string_view::npos;
}

template <typename Class>
bool AllOf(std::u32string_view token, const Class& is_in) {
  return std::all_of(token.begin(), token.end(), is_in);
}

bool StartsWith(std::u32string_view text, std::u32string_view start) {
  return text.substr(0, start.size()) == start;
}

// The word without entities. Unless it is `whole`, the result ends before an entity that is not
// complete.
std::u32string Unescape(std::u32string_view word, bool whole) {
  std::u32string result;
  while (!word.empty()) {
    size_t size = 1;
    char32_t c = word[0];
    if (c == U'&') {
      for (const Entity& entity : kEntities) {
        if (StartsWith(word, entity.name)) {
          size = entity.name.size();
          c = entity.c;
          break;
        }
        if (!whole && StartsWith(entity.name, word)) return result;
      }
    }
    result.push_back(c);
    word.remove_prefix(size);
  }
  return result;
}

bool EndsInElision(const std::u32string& token) {
  return token.size() >= 2 && token.back() == U'\'' && moses::IsLetter(token[token.size() - 2]);
}

// The key under which quotation marks are counted.
std::u32string KindOfQuote(const std::u32string& token) {
  const bool curly =
      AllOf(token, [](char32_t c) { return IsOneOf(U"\u201E\u201C\u201D", c); });
  return curly ? U"\"" : token;
}

}  // namespace

MosesDetokenizer::MosesDetokenizer(absl::string_view language)
    : language_(language),
      contracts_(language == "fr" || language == "it" || language == "ga") {}

MosesDetokenizer::Place MosesDetokenizer::PlaceOfQuote(const std::u32string& token,
                                                       const MosesTarget& target) const {
  const auto found = target.quotes.find(KindOfQuote(token));
  int count = found == target.quotes.end() ? 0 : found->second;
  if (language_ == "cs" && token == U"\u201E") count = 0;
  if (language_ == "cs" && token == U"\u201C") count = 1;
  Place place;
  place.rule = Rule::kQuote;
  if (count % 2 == 0) {
    const bool genitive = language_ == "en" && token == U"'" && !target.last.empty() &&
                          target.last.back() == U's';  // "the users' names"
    place.opens = place.counts = !genitive;
    place.space = !genitive && !target.glued;
  }
  return place;
}

MosesDetokenizer::Place MosesDetokenizer::PlaceOf(const std::u32string& token, bool whole,
                                                  const MosesTarget& target) const {
  const bool first = target.tokens == 0;
  const bool ordinary = !first && !target.glued;
  const auto is_digit = [](char32_t c) { return c >= U'0' && c <= U'9'; };
  Place place;
  place.space = ordinary;
  place.certain = true;
  if (moses::IsEastAsian(token[0]) && language_ != "ko") {
    place.rule = Rule::kEastAsian;
    if (!first && moses::IsEastAsian(target.last.back())) place.space = false;
  } else if (AllOf(token, [](char32_t c) { return moses::IsCurrency(c) || IsOneOf(kOpening, c); })) {
    place.rule = Rule::kOpening;
  } else if (AllOf(token, [](char32_t c) { return IsOneOf(kClosing, c); })) {
    place.rule = Rule::kClosing;
    place.space = language_ == "fr" && token.size() == 1 && IsOneOf(kSpacedInFrench, token[0]);
  } else if (language_ == "en" && !first && token.size() >= 2 && token[0] == U'\'' &&
             moses::IsLetter(token[1])) {
    place.rule = Rule::kClitic;
    place.space = false;
  } else if (language_ == "cs" && AllOf(token, is_digit) && AllOf(target.second_last, is_digit) &&
             !target.second_last.empty() && (target.last == U"." || target.last == U",")) {
    place.rule = Rule::kDecimal;
    place.space = false;
  } else if (contracts_ && EndsInElision(token)) {
    place.rule = Rule::kContraction;
  } else if (AllOf(token, [](char32_t c) { return IsOneOf(kQuotes, c); })) {
    place = PlaceOfQuote(token, target);
  }
  if (first) place.space = false;
  if (place.rule == Rule::kClosing || place.rule == Rule::kQuote || place.rule == Rule::kDecimal) {
    // As an ordinary word it would stand after a space, unless it is the first or the last token
    // takes none. A beginning may still become a word.
    place.certain = first || place.space == ordinary;
    if (!whole) place.certain = first || (!ordinary && !place.space);
  }
  return place;
}

void MosesDetokenizer::Show(const std::u32string& token, bool whole, bool all, MosesTarget* target,
                            std::u32string* text) const {
  const Place place = PlaceOf(token, whole, *target);
  if (!place.certain && !all) return;
  std::u32string full = place.space ? U" " : U"";
  full += token;
  *text += full.substr(std::min(target->shown, full.size()));
  target->shown = std::max(target->shown, full.size());
}

void MosesDetokenizer::EndToken(char32_t next, MosesTarget* target, std::u32string* text) const {
  if (target->token.empty()) return;
  Show(target->token, /*whole=*/true, /*all=*/true, target, text);
  const Place place = PlaceOf(target->token, /*whole=*/true, *target);
  target->glued = place.rule == Rule::kOpening || place.opens ||
                  (place.rule == Rule::kContraction && next != 0 && moses::IsLetter(next));
  if (place.rule == Rule::kQuote && place.counts) {
    int& count = target->quotes[KindOfQuote(target->token)];
    count = place.opens ? 1 : 0;  // Only whether it is even matters.
  }
  ++target->tokens;
  target->second_last = std::exchange(target->last, std::exchange(target->token, {}));
  target->joined = false;
  target->shown = 0;
}

void MosesDetokenizer::EndWord(MosesTarget* target, std::u32string* text) const {
  const std::u32string word = std::exchange(target->word, {});
  if (word == kJoin && !target->joined) {
    target->token += U'-';
    target->joined = true;
  } else {
    const std::u32string plain = Unescape(word, /*whole=*/true);
    if (!target->joined) EndToken(plain[0], target, text);
    target->token += plain;
    target->joined = false;
  }
  Show(target->token, /*whole=*/true, /*all=*/false, target, text);
}

void MosesDetokenizer::ShowWord(MosesTarget* target, std::u32string* text) const {
  if (!target->joined && StartsWith(kJoin, target->word)) return;
  const std::u32string plain = Unescape(target->word, /*whole=*/false);
  if (plain.empty()) return;
  if (!target->joined) EndToken(plain[0], target, text);
  Show(target->token + plain, /*whole=*/false, /*all=*/false, target, text);
}

std::string MosesDetokenizer::Append(absl::string_view text, MosesTarget* target) const {
  std::u32string result;
  for (const char32_t c : ToCodePoints(text)) {
    if (!IsPythonSpace(c)) {
      target->word.push_back(c);
    } else if (!target->word.empty()) {
      EndWord(target, &result);
    }
  }
  if (!target->word.empty()) ShowWord(target, &result);
  return ToUtf8(result);
}

std::string MosesDetokenizer::Finish(MosesTarget* target) const {
  std::u32string result;
  if (!target->word.empty()) EndWord(target, &result);
  EndToken(0, target, &result);
  *target = MosesTarget();
  return ToUtf8(result);
}

}  // namespace leapstream
