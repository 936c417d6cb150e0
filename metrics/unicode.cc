#include "metrics/unicode.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "base/scripts.h"
#include "base/utf8.h"

namespace leapstream::metrics {
namespace {

// The code point at text[at], and its size in bytes in `*size`.
char32_t CodePointAt(absl::string_view text, size_t at, size_t* size) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  *size = 1;
  if (first < 0x80) return first;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 0;
  if (length == 0 || at + length > text.size()) return 0xFFFD;
  char32_t c = first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0xFFFD;
    c = (c << 6) | (byte(at + i) & 0x3F);
  }
  *size = length;
  return c;
}

}  // namespace

char32_t FirstCodePoint(absl::string_view text, size_t* size) {
  return CodePointAt(text, 0, size);
}

std::u32string CodePoints(absl::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    result.push_back(CodePointAt(text, at, &size));
  }
  return result;
}

std::vector<absl::string_view> Characters(absl::string_view text) {
  std::vector<absl::string_view> characters;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    CodePointAt(text, at, &size);
    characters.push_back(text.substr(at, size));
  }
  return characters;
}

bool AreWrittenWithoutSpaces(absl::Span<const std::string> texts) {
  size_t characters = 0, without = 0;
  for (const std::string& text : texts) {
    for (const char32_t c : CodePoints(text)) {
      characters += IsPythonSpace(c) ? 0 : 1;
      without += IsOfScriptWithoutSpaces(c) ? 1 : 0;
    }
  }
  return 2 * without > characters;
}

bool AreChinese(absl::Span<const std::string> texts) {
  const auto is_punctuation_or_han = [](char32_t c) {
    return (c >= 0x2E80 && c <= 0x303F) || (c >= 0x3100 && c <= 0x312F) ||
           (c >= 0x31A0 && c <= 0x31EF) || (c >= 0x3400 && c <= 0x9FFF) ||
           (c >= 0xF900 && c <= 0xFF65) || c >= 0x20000;
  };
  size_t without = 0, other = 0;
  for (const std::string& text : texts) {
    for (const char32_t c : CodePoints(text)) {
      if (!IsOfScriptWithoutSpaces(c)) continue;
      ++without;
      other += is_punctuation_or_han(c) ? 0 : 1;
    }
  }
  return 20 * other < without;
}

bool HaveAlmostNoSpaces(absl::Span<const std::string> texts) {
  constexpr size_t kLongWord = 24;  // In characters; no language has so many on average.
  size_t characters = 0, words = 0;
  for (const std::string& text : texts) {
    for (const absl::string_view word : SplitWords(text)) {
      characters += Characters(word).size();
      ++words;
    }
  }
  return characters > kLongWord * words;
}

std::vector<absl::string_view> SplitWords(absl::string_view text) {
  std::vector<absl::string_view> words;
  size_t begin = 0;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    if (!IsPythonSpace(CodePointAt(text, at, &size))) continue;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    begin = at + size;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

absl::string_view StripTrailingSpace(absl::string_view text) {
  size_t end = 0;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    if (!IsPythonSpace(CodePointAt(text, at, &size))) end = at + size;
  }
  return text.substr(0, end);
}

absl::string_view StripSpace(absl::string_view text) {
  size_t begin = 0;
  for (size_t size = 0; begin < text.size(); begin += size) {
    if (!IsPythonSpace(CodePointAt(text, begin, &size))) break;
  }
  return StripTrailingSpace(text.substr(begin));
}

}  // namespace leapstream::metrics
