#include "streaming/markup.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/scripts.h"
#include "base/utf8.h"

namespace leapstream {

absl::string_view CharacterBefore(absl::string_view text, size_t end) {
  size_t begin = end;
  while (begin > 0) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  return text.substr(begin, end - begin);
}

namespace {

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsAlnum(char c) { return IsLetter(c) || IsDigit(c); }
// The most bytes of a tag, a placeholder or an entity; of the scheme of a URL; of an e-mail address
// before its @; of a number.
constexpr size_t kMostBytes = 256;
constexpr size_t kSchemeBytes = 32;
constexpr size_t kMailboxBytes = 64;
constexpr size_t kNumberBytes = 64;

bool IsOneOf(char c, absl::string_view set) { return absl::StrContains(set, c); }

// The size of the character of a script without spaces with which `text` begins, or 0.
size_t UnspacedCharacter(absl::string_view text) {
  size_t size = 0;
  char32_t c = 0;
  if (text.empty() || static_cast<unsigned char>(text[0]) < 0x80) return 0;
  return ReadUtf8(text, &size, &c) == Utf8::kCharacter && IsOfScriptWithoutSpaces(c) ? size : 0;
}

// Whether a word goes on with `text`. Characters beyond ASCII may be letters; those of scripts
// without spaces are words of their own.
bool GoesOnWord(absl::string_view text) {
  if (text.empty()) return false;
  return IsAlnum(text[0]) ||
         (static_cast<unsigned char>(text[0]) >= 0x80 && UnspacedCharacter(text) == 0);
}

// Whether a word may begin at a place of `word`.
bool BeginsWord(absl::string_view word, size_t at) {
  if (at == 0) return true;
  const absl::string_view before = CharacterBefore(word, at);
  return !GoesOnWord(before);
}

// In what follows, the functions return the length of the mark-up with which `text` begins, or 0.

size_t Tag(absl::string_view text) {
  text = text.substr(0, kMostBytes);
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
  return GoesOnWord(text.substr(at)) ? 0 : at;
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
  while (scheme < std::min(text.size(), kSchemeBytes) &&
         (IsAlnum(text[scheme]) || IsOneOf(text[scheme], "+-."))) {
    ++scheme;
  }
  const absl::string_view rest = text.substr(scheme);
  const bool has_scheme = scheme > 1 && IsLetter(text[0]) && absl::StartsWith(rest, "://");
  if (!has_scheme && !absl::StartsWith(text, "www.")) return 0;
  size_t end = scheme;
  while (end < text.size() && !IsOneOf(text[end], "<>\"") &&
         UnspacedCharacter(text.substr(end)) == 0) {
    ++end;
  }
  const size_t length = WithoutPunctuation(text.substr(0, end));
  return length > scheme + (has_scheme ? 3 : 0) || !has_scheme ? length : 0;
}

size_t Email(absl::string_view text) {
  size_t at = 0;
  while (at < std::min(text.size(), kMailboxBytes) &&
         (IsAlnum(text[at]) || IsOneOf(text[at], "._%+-"))) {
    ++at;
  }
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
  while (end < std::min(text.size(), kNumberBytes) &&
         (IsDigit(text[end]) ||
          (IsOneOf(text[end], ".,:/-") && end + 1 < text.size() && IsDigit(text[end + 1])))) {
    ++end;
  }
  return GoesOnWord(text.substr(end)) ? 0 : end;
}

// Finds the mark-up that begins at `at`.
bool FindSpan(absl::string_view word, size_t at, MarkupSpan* span) {
  const absl::string_view rest = word.substr(at);
  const absl::string_view beginning = rest.substr(0, kMostBytes);
  span->kind = MarkupSpan::Kind::kTag;
  size_t length = Tag(rest);
  if (length == 0) {
    span->kind = MarkupSpan::Kind::kValue;
    length = Braces(beginning);
  }
  if (length == 0) length = Conversion(beginning);
  if (length == 0) length = Entity(beginning);
  // Addresses and numbers begin where a word does.
  if (length == 0 && BeginsWord(word, at)) {
    length = Url(rest);
    if (length == 0) length = Email(rest);
    if (length == 0) {
      span->kind = MarkupSpan::Kind::kNumber;
      length = Number(rest);
    }
  }
  span->begin = at;
  span->end = at + length;
  return length > 0;
}

// The number of bytes after which it is settled that no mark-up begins with `text`, if it has a
// character of a script without spaces; npos: more text may make some of it.
size_t NoMarkupAfter(absl::string_view text) {
  constexpr size_t kNever = absl::string_view::npos;
  const bool name = text.size() < 2 || IsAlnum(text[1]) || text[1] == '/';
  size_t closed = 0;
  if (text[0] == '<') {
    closed = name ? text.find_first_of("<>", 1) : 1;
  } else if (absl::StartsWith(text, "{{")) {
    closed = text.find("}}");
  } else if (text[0] == '{') {
    closed = text.find_first_of("{}", 1);
  } else if (absl::StartsWith(text, "${") || absl::StartsWith(text, "%{")) {
    closed = text.find_first_of("{}", 2);
  } else if (absl::StartsWith(text, "%(")) {
    closed = text.find(')');
    if (closed != kNever) {  // A conversion and what is behind it tell.
      closed = text.find_first_not_of("0123456789$-+#.*hlLzjt", closed + 1);
      if (closed != kNever && IsLetter(text[closed])) ++closed;
      if (closed >= text.size()) closed = kNever;
    }
  }
  if (closed >= kMostBytes && text.size() >= kMostBytes) return kMostBytes;
  return closed == kNever ? kNever : closed + 1;
}

}  // namespace

std::vector<MarkupSpan> MarkupOf(absl::string_view word) {
  std::vector<MarkupSpan> spans;
  for (size_t at = 0; at < word.size();) {
    MarkupSpan span;
    if (FindSpan(word, at, &span)) {
      spans.push_back(span);
      at = span.end;
    } else {
      ++at;
    }
  }
  return spans;
}

SettledPlace NextSettledPlace(absl::string_view text, bool markup) {
  size_t known = 0;
  for (size_t at = 0; at < text.size();) {
    MarkupSpan span;
    if (markup && FindSpan(text, at, &span)) {
      at = span.end;
      continue;
    }
    if (markup) {
      const size_t after = NoMarkupAfter(text.substr(at));
      if (after == absl::string_view::npos) return {};
      known = std::max(known, at + after);
    }
    if (const size_t size = UnspacedCharacter(text.substr(at)); size > 0) {
      return {at + size, std::max(known, at + size)};
    }
    ++at;
  }
  return {};
}

std::vector<MarkupSpan> TagsOf(absl::string_view word) {
  if (!absl::StrContains(word, '<')) return {};
  std::vector<MarkupSpan> tags = MarkupOf(word);
  tags.erase(
      std::remove_if(tags.begin(), tags.end(),
                     [](const MarkupSpan& span) { return span.kind != MarkupSpan::Kind::kTag; }),
      tags.end());
  return tags;
}

std::string WithoutTags(absl::string_view word) {
  std::string text;
  size_t at = 0;
  for (const MarkupSpan& tag : TagsOf(word)) {
    text.append(word.data() + at, tag.begin - at);
    at = tag.end;
  }
  text.append(word.data() + at, word.size() - at);
  return text;
}

}  // namespace leapstream
