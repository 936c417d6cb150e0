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
  for (const char32_t c : code_points) AppendUtf8(c, &result);
  return result;
}

}  // namespace leapstream
