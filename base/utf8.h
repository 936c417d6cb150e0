#ifndef LEAPSTREAM_BASE_UTF8_H_
#define LEAPSTREAM_BASE_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

enum class Utf8 {
  kCharacter,
  kPrefix,   // More bytes could make it a character.
  kInvalid,  // No bytes could.
};

// Says how `bytes` (not empty) begins. Strict (Unicode 15, table 3-7): no overlong forms, no
// surrogates, nothing over U+10FFFF. Sets *length and *code_point of a kCharacter.
inline Utf8 ReadUtf8(absl::string_view bytes, size_t* length, char32_t* code_point) {
  const auto byte = [&bytes](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    *length = 1;
    *code_point = lead;
    return Utf8::kCharacter;
  }
  if (lead < 0xC2 || lead > 0xF4) return Utf8::kInvalid;
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t value = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i == bytes.size()) return Utf8::kPrefix;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(i) < low || byte(i) > high) return Utf8::kInvalid;
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  *length = size;
  *code_point = value;
  return Utf8::kCharacter;
}

// Appends the UTF-8 of a code point, at most U+10FFFF and no surrogate. Of other numbers the bytes
// are no UTF-8.
inline void AppendUtf8(char32_t c, std::string* text) {
  const auto push = [text](char32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (c < 0x80) return push(c);
  if (c < 0x800) {
    push(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      push(0xE0 | c >> 12);
    } else {
      push(0xF0 | (c >> 18 & 0x3F));
      push(0x80 | (c >> 12 & 0x3F));
    }
    push(0x80 | (c >> 6 & 0x3F));
  }
  push(0x80 | (c & 0x3F));
}

// The size of the longest part of `text`, from its beginning, that is UTF-8 in whole characters.
inline size_t Utf8PrefixBytes(absl::string_view text) {
  size_t at = 0;
  size_t length = 0;
  char32_t code_point = 0;
  while (at < text.size() &&
         ReadUtf8(text.substr(at), &length, &code_point) == Utf8::kCharacter) {
    at += length;
  }
  return at;
}

inline bool IsUtf8(absl::string_view text) { return Utf8PrefixBytes(text) == text.size(); }

// White space of Python's str.split() and str.strip(): fairseq and SimulEval cut text by it.
inline bool IsPythonSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_UTF8_H_
