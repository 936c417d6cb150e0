#include "base/scripts.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "base/utf8.h"

namespace leapstream {

bool IsOfScriptWithoutSpaces(char32_t c) {
  static constexpr struct {
    char32_t first, last;
  } kRanges[] = {
      {0x0E00, 0x0FFF},    // Thai, Lao, Tibetan.
      {0x1000, 0x109F},    // Burmese.
      {0x1780, 0x17FF},    // Khmer.
      {0x1950, 0x19FF},    // Tai Le, New Tai Lue, Khmer symbols.
      {0x1A20, 0x1AAF},    // Tai Tham.
      {0x1B00, 0x1B7F},    // Balinese.
      {0x2E80, 0x2FFF},    // Radicals of Han.
      {0x3001, 0x312F},    // Punctuation, kana, bopomofo.
      {0x3190, 0x4DBF},    // Kanbun to Han, extension A.
      {0x4E00, 0xA4CF},    // Han, Yi.
      {0xA980, 0xA9FF},    // Javanese, Burmese, extended.
      {0xAA60, 0xAADF},    // Burmese, extended; Tai Viet.
      {0xF900, 0xFAFF},    // Han, compatible.
      {0xFE10, 0xFE1F},    // Upright punctuation.
      {0xFE30, 0xFE4F},    // Compatible punctuation.
      {0xFF01, 0xFF9F},    // Full-width forms, half-width kana.
      {0x1B000, 0x1B16F},  // Kana, extended.
      {0x20000, 0x3FFFF},  // Han, extensions B and later.
  };
  if (c < kRanges[0].first) return false;
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const auto& range) { return c >= range.first && c <= range.last; });
}

bool HasScriptWithoutSpaces(absl::string_view text) {
  while (!text.empty()) {
    size_t size = 1;
    char32_t c = 0;
    if (ReadUtf8(text, &size, &c) != Utf8::kCharacter) size = 1;
    if (c >= 0x80 && IsOfScriptWithoutSpaces(c)) return true;
    text.remove_prefix(size);
  }
  return false;
}

}  // namespace leapstream
