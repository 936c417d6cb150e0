#ifndef LEAPSTREAM_STREAMING_UTF8_H_
#define LEAPSTREAM_STREAMING_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace leapstream {

enum class Utf8 {
  kCharacter,
  kPrefix,   // More bytes could make it a character.
  kInvalid,  // No bytes could.
};

// What `bytes` (not empty) starts with. Strict (Unicode 15, table 3-7): no overlong forms, no
// surrogates, nothing over U+10FFFF. Of a kCharacter, sets *length and *code_point.
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

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_UTF8_H_
