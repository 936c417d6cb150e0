#include "metrics/unicode.h"

#include <cstddef>

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

std::u32string CodePoints(absl::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    result.push_back(CodePointAt(text, at, &size));
  }
  return result;
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::vector<absl::string_view> SplitWords(absl::string_view text) {
  std::vector<absl::string_view> words;
  size_t begin = 0;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    if (!IsSpace(CodePointAt(text, at, &size))) continue;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    begin = at + size;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

absl::string_view StripTrailingSpace(absl::string_view text) {
  size_t end = 0;
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    if (!IsSpace(CodePointAt(text, at, &size))) end = at + size;
  }
  return text.substr(0, end);
}

}  // namespace leapstream::metrics
