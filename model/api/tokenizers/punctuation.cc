#include "model/api/tokenizers/punctuation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

using Rule = std::pair<absl::string_view, absl::string_view>;

constexpr char kNoBreak[] = "\xC2\xA0";  // U+00A0.

// FSMTTokenizer's replacements, in its order but for the two full stops. No result of one is what
// another one replaces.
constexpr Rule kCjk[] = {
    {"，", ","}, {"、", ","}, {"”", "\""}, {"“", "\""}, {"∶", ":"}, {"：", ":"}, {"？", "?"},
    {"《", "\""}, {"》", "\""}, {"）", ")"}, {"！", "!"}, {"（", "("}, {"；", ";"}, {"」", "\""},
    {"「", "\""}, {"０", "0"}, {"１", "1"}, {"２", "2"}, {"３", "3"}, {"４", "4"}, {"５", "5"},
    {"６", "6"}, {"７", "7"}, {"８", "8"}, {"９", "9"}, {"～", "~"}, {"’", "'"}, {"…", "..."},
    {"━", "-"}, {"〈", "<"}, {"〉", ">"}, {"【", "["}, {"】", "]"}, {"％", "%"}};

// Category Cc, Cf and Co of Unicode 14.
constexpr std::pair<char32_t, char32_t> kControls[] = {
    {0x0, 0x1f},         {0x7f, 0x9f},         {0xad, 0xad},         {0x600, 0x605},
    {0x61c, 0x61c},      {0x6dd, 0x6dd},       {0x70f, 0x70f},       {0x890, 0x891},
    {0x8e2, 0x8e2},      {0x180e, 0x180e},     {0x200b, 0x200f},     {0x202a, 0x202e},
    {0x2060, 0x2064},    {0x2066, 0x206f},     {0xe000, 0xf8ff},     {0xfeff, 0xfeff},
    {0xfff9, 0xfffb},    {0x110bd, 0x110bd},   {0x110cd, 0x110cd},   {0x13430, 0x13438},
    {0x1bca0, 0x1bca3},  {0x1d173, 0x1d17a},   {0xe0001, 0xe0001},   {0xe0020, 0xe007f},
    {0xf0000, 0xffffd},  {0x100000, 0x10fffd}};

std::string Replace(const std::string& text, absl::string_view from, absl::string_view to) {
  return absl::StrReplaceAll(text, {{from, to}});
}

// Replaces `from` and the white space behind it.
std::string ReplaceWithSpace(const std::string& text, absl::string_view from,
                             absl::string_view to) {
  std::string result;
  absl::string_view rest = text;
  while (!rest.empty()) {
    if (!absl::ConsumePrefix(&rest, from)) {
      result += rest[0];
      rest.remove_prefix(1);
      continue;
    }
    result.append(to.data(), to.size());
    while (!rest.empty() && absl::ascii_isspace(rest[0])) rest.remove_prefix(1);
  }
  return result;
}

std::string OneSpace(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' || result.empty() || result.back() != ' ') result += c;
  }
  return result;
}

// Removes the space between a character of `before` and one of `after`. A match uses both up.
template <typename Before>
std::string Close(const std::string& text, Before before, absl::string_view after) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (i + 2 >= text.size() || !before(text[i]) || text[i + 1] != ' ' ||
        !absl::StrContains(after, text.substr(i + 2, 1))) {
      continue;
    }
    result += text[i + 2];
    i += 2;
  }
  return result;
}

// A quotation mark goes behind the commas and full stops that follow it.
std::string QuotesLast(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t end = i + 1;
    while (text[i] == '"' && end < text.size() && (text[end] == ',' || text[end] == '.')) ++end;
    result.append(text, i + 1, end - i - 1);
    result += text[i];
    i = end - 1;
  }
  return result;
}

// A quotation mark goes before the full stops in front of it, unless the text ends there or only
// `<` follows. The character that follows is used up.
std::string QuotesFirst(const std::string& text, bool more) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    size_t dots = i;
    while (dots < text.size() && text[dots] == '.') ++dots;
    if (dots == i || dots == text.size() || text[dots] != '"') {
      result.append(text, i, std::max<size_t>(dots - i, 1));
      i = std::max(dots, i + 1);
      continue;
    }
    size_t next = dots + 1;
    while (next < text.size() && absl::ascii_isspace(text[next])) ++next;
    const bool spaces = next > dots + 1;
    const bool follows = next < text.size() ? text[next] != '<' || spaces : more || spaces;
    if (!follows) {
      result.append(text, i, dots + 1 - i);
      i = dots + 1;
      continue;
    }
    result += '"';
    result.append(text, i, dots - i);
    const size_t used = next < text.size() && text[next] != '<' ? next + 1 : next;
    result.append(text, dots + 1, used - dots - 1);
    i = used;
  }
  return result;
}

// A number's groups of digits with a no-break space between them get `to` instead.
std::string JoinNumbers(const std::string& text, char to) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (!absl::ascii_isdigit(text[i]) || i + 3 >= text.size() ||
        text.compare(i + 1, 2, kNoBreak) != 0 || !absl::ascii_isdigit(text[i + 3])) {
      continue;
    }
    result += to;
    result += text[i + 3];
    i += 3;
  }
  return result;
}

std::string WithoutControlCharacters(absl::string_view text) {
  std::string result;
  while (!text.empty()) {
    size_t length = 1;
    char32_t point = 0;
    const bool valid = ReadUtf8(text, &length, &point) == Utf8::kCharacter;
    bool control = false;
    for (const auto& [first, last] : kControls) control |= point >= first && point <= last;
    if (!valid) length = 1;
    if (!valid || !control) result.append(text.data(), length);
    text.remove_prefix(length);
  }
  return result;
}

std::string Cjk(absl::string_view text) {
  std::string result(text);
  for (const auto& [from, to] : kCjk) result = Replace(result, from, to);
  result = ReplaceWithSpace(result, "。", ". ");
  return ReplaceWithSpace(result, "．", ". ");
}

}  // namespace

// The passes are those of sacremoses' MosesPunctNormalizer, a port of Moses'
// normalize-punctuation.perl, each over the whole text.
std::string NormalizePunctuation(absl::string_view text, absl::string_view language, bool more) {
  std::string s = Cjk(text);
  s = Replace(s, "\r", "");
  s = Replace(s, "(", " (");
  s = Replace(s, ")", ") ");
  s = OneSpace(s);
  s = Close(s, [](char c) { return c == ')'; }, ".!:?;,");
  s = Replace(s, "( ", "(");
  s = Replace(s, " )", ")");
  s = Close(s, [](char c) { return absl::ascii_isdigit(c); }, "%");
  s = Replace(s, " :", ":");
  s = Replace(s, " ;", ";");
  constexpr Rule kQuotes[] = {{"`", "'"},   {"''", " \" "}, {"„", "\""}, {"“", "\""},
                              {"”", "\""}, {"–", "-"},     {"—", " - "}};
  for (const auto& [from, to] : kQuotes) s = Replace(s, from, to);
  s = OneSpace(s);
  const Rule more_quotes[] = {{"´", "'"},   {"‘", "'"},  {"‚", "'"},  {"’", "'"},
                              {"''", "\""}, {"…", "..."}};
  for (const auto& [from, to] : more_quotes) s = Replace(s, from, to);
  constexpr Rule kNoBreaks[] = {{"\u00A0«\u00A0", "\""}, {"«\u00A0", "\""},   {"«", "\""},
                                {"\u00A0»\u00A0", "\""}, {"\u00A0»", "\""},   {"»", "\""},
                                {"\u00A0%", "%"},        {"nº\u00A0", "nº "}, {"\u00A0:", ":"},
                                {"\u00A0ºC", " ºC"},     {"\u00A0cm", " cm"}, {"\u00A0?", "?"},
                                {"\u00A0!", "!"},        {"\u00A0;", ";"},    {",\u00A0", ", "}};
  for (const auto& [from, to] : kNoBreaks) s = Replace(s, from, to);
  s = OneSpace(s);
  const bool continental = language == "de" || language == "es" || language == "fr";
  if (language == "en") s = QuotesLast(s);
  if (continental) s = QuotesFirst(Replace(s, ",\"", "\","), more);
  const bool comma = continental || language == "cs" || language == "cz";
  s = JoinNumbers(s, comma ? ',' : '.');
  s = WithoutControlCharacters(absl::StripAsciiWhitespace(s));
  return std::string(absl::StripAsciiWhitespace(s));
}

bool JoinsNext(absl::string_view text, absl::string_view next) {
  constexpr size_t kTail = 8;  // Bytes that hold the last character, and the one before it.
  const std::string left = Cjk(text.substr(text.size() - std::min(text.size(), kTail)));
  const std::string right = Cjk(next.substr(0, kTail));
  if (left.empty() || right.empty()) return true;
  const char last = left.back();
  const char first = right[0];
  if (last == '(' || first == ')' || first == ':' || first == ';') return true;
  if (first == '%' && absl::ascii_isdigit(last)) return true;
  return last == ')' && absl::StrContains(".!?,", right.substr(0, 1));
}

}  // namespace leapstream
