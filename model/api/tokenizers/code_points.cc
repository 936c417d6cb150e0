#include "model/api/tokenizers/code_points.h"

#include <cstddef>

#include "base/utf8.h"

namespace leapstream {

std::u32string ToCodePoints(absl::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  while (!text.empty()) {
    size_t size = 1;
    char32_t c = 0;
    if (ReadUtf8(text, &size, &c) != Utf8::kCharacter) {
      size = 1;
      c = 0xFFFD;
    }
    result.push_back(c);
    text.remove_prefix(size);
  }
  return result;
}

std::string ToUtf8(std::u32string_view code_points) {
  std::string result;
  result.reserve(code_points.size());
  const auto push = [&result](char32_t byte) { result.push_back(static_cast<char>(byte)); };
  for (const char32_t c : code_points) {
    if (c < 0x80) {
      push(c);
      continue;
    }
    if (c < 0x800) {
      push(0xC0 | c >> 6);
    } else {
      if (c < 0x10000) {
        push(0xE0 | c >> 12);
      } else {
        push(0xF0 | c >> 18);
        push(0x80 | (c >> 12 & 0x3F));
      }
      push(0x80 | (c >> 6 & 0x3F));
    }
    push(0x80 | (c & 0x3F));
  }
  return result;
}

}  // namespace leapstream
