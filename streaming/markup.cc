#include "streaming/markup.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace leapstream {
namespace {

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsAlnum(char c) { return IsLetter(c) || IsDigit(c); }
// Whether a byte may be of a word: bytes beyond ASCII may be letters.
bool IsWordByte(char c) { return IsAlnum(c) || static_cast<unsigned char>(c) >= 0x80; }
// The most bytes of a tag, a placeholder or an entity.
constexpr size_t kMostBytes = 256;

bool IsOneOf(char c, absl::string_view set) { return absl::StrContains(set, c); }

// In what follows, the functions return the length of the mark-up with which `text` begins, or 0.

size_t Tag(absl::string_view text) {
  if (text.size() < 3 || text[0] != '<') return 0;
  const size_t name = text[1] == '/' ? 2 : 1;
  if (!IsAlnum(text[name])) return 0;
  const size_t end = text.find_first_of("<>", name);
  return end == absl::string_view::npos || text[end] == '<' ? 0 : end + 1;
}

size_t Braces(absl::string_view text) {
  size_t open = 0;
  if (absl::StartsWith(text, "${") || absl::StartsWith(text, "%{")) {
    open = 2;
  } else if (absl::StartsWith(text, "{{")) {
    const size_t end = text.find("}}");
    return end == absl::string_view::npos ? 0 : end + 2;
  } else if (absl::StartsWith(text, "{")) {
    open = 1;
  }
  if (open == 0) return 0;
  const size_t end = text.find_first_of("{}", open);
  return end == absl::string_view::npos || text[end] == '{' ? 0 : end + 1;
}

// A conversion of printf or of Python's % operator.
size_t Conversion(absl::string_view text) {
  if (text.size() < 2 || text[0] != '%') return 0;
  size_t at = 1;
  if (text[at] == '(') {
    at = text.find(')', at);
    if (at == absl::string_view::npos) return 0;
    ++at;
  }
  while (at < text.size() && (IsDigit(text[at]) || IsOneOf(text[at], "$-+#.*"))) ++at;
  while (at < text.size() && IsOneOf(text[at], "hlLzjt")) ++at;
  if (at == text.size() || !IsOneOf(text[at], "diouxXeEfFgGcspq@")) return 0;
  ++at;
  return at < text.size() && IsWordByte(text[at]) ? 0 : at;
}

size_t Entity(absl::string_view text) {
  if (text.size() < 3 || text[0] != '&') return 0;
  size_t at = text[1] == '#' ? 2 : 1;
  while (at < text.size() && IsAlnum(text[at])) ++at;
  return at > 2 && at < text.size() && text[at] == ';' ? at + 1 : 0;
}

// An address ends before the punctuation of the sentence around it.
size_t WithoutPunctuation(absl::string_view text) {
  while (!text.empty() && IsOneOf(text.back(), ".,;:!?'\")]}>")) text.remove_suffix(1);
  return text.size();
}

size_t Url(absl::string_view text) {
  size_t scheme = 0;
  while (scheme < text.size() && (IsAlnum(text[scheme]) || IsOneOf(text[scheme], "+-."))) ++scheme;
  const absl::string_view rest = text.substr(scheme);
  const bool has_scheme = scheme > 1 && IsLetter(text[0]) && absl::StartsWith(rest, "://");
  if (!has_scheme && !absl::StartsWith(text, "www.")) return 0;
  const size_t end = text.find_first_of("<>\"");
  const size_t length = WithoutPunctuation(text.substr(0, end));
  return length > scheme + (has_scheme ? 3 : 0) || !has_scheme ? length : 0;
}

size_t Email(absl::string_view text) {
  size_t at = 0;
  while (at < text.size() && (IsAlnum(text[at]) || IsOneOf(text[at], "._%+-"))) ++at;
  if (at == 0 || at == text.size() || text[at] != '@') return 0;
  size_t end = at + 1;
  while (end < text.size() && (IsAlnum(text[end]) || IsOneOf(text[end], ".-"))) ++end;
  const size_t length = WithoutPunctuation(text.substr(0, end));
  const absl::string_view domain = text.substr(at + 1, length > at ? length - at - 1 : 0);
  const size_t dot = domain.find('.');
  return dot != absl::string_view::npos && dot > 0 && dot + 1 < domain.size() ? length : 0;
}

size_t Number(absl::string_view text) {
  if (!IsDigit(text[0])) return 0;
  size_t end = 1;
  while (end < text.size() &&
         (IsDigit(text[end]) ||
          (IsOneOf(text[end], ".,:/-") && end + 1 < text.size() && IsDigit(text[end + 1])))) {
    ++end;
  }
  return end < text.size() && IsWordByte(text[end]) ? 0 : end;
}

}  // namespace

std::vector<MarkupSpan> MarkupOf(absl::string_view word) {
  std::vector<MarkupSpan> spans;
  size_t at = 0;
  while (at < word.size()) {
    const absl::string_view rest = word.substr(at);
    // Addresses and numbers begin where a word does.
    const bool begins = at == 0 || !IsWordByte(word[at - 1]);
    MarkupSpan span;
    const absl::string_view beginning = rest.substr(0, kMostBytes);
    size_t length = Tag(beginning);
    if (length > 0) span.kind = MarkupSpan::Kind::kTag;
    if (length == 0) length = Braces(beginning);
    if (length == 0) length = Conversion(beginning);
    if (length == 0) length = Entity(beginning);
    if (length == 0 && begins) length = Url(rest);
    if (length == 0 && begins) length = Email(rest);
    if (length == 0 && begins) {
      length = Number(rest);
      if (length > 0) span.kind = MarkupSpan::Kind::kNumber;
    }
    if (length == 0) {
      ++at;
      continue;
    }
    span.begin = at;
    span.end = at += length;
    spans.push_back(span);
  }
  return spans;
}

std::string WithoutTags(absl::string_view word) {
  if (!absl::StrContains(word, '<')) return std::string(word);
  std::string text;
  size_t at = 0;
  for (const MarkupSpan& span : MarkupOf(word)) {
    if (span.kind != MarkupSpan::Kind::kTag) continue;
    text.append(word.data() + at, span.begin - at);
    at = span.end;
  }
  text.append(word.data() + at, word.size() - at);
  return text;
}

}  // namespace leapstream
