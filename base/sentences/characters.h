#ifndef LEAPSTREAM_BASE_SENTENCES_CHARACTERS_H_
#define LEAPSTREAM_BASE_SENTENCES_CHARACTERS_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "base/utf8.h"

// The knowledge of characters that sentences need.
namespace leapstream {

struct DecodedCharacter {
  char32_t code_point = 0;
  size_t bytes = 0;
};

// The first character of `text`, which is not empty. A byte that is not UTF-8 is U+FFFD.
inline DecodedCharacter FirstCharacter(absl::string_view text) {
  DecodedCharacter first;
  if (ReadUtf8(text, &first.bytes, &first.code_point) != Utf8::kCharacter) return {0xFFFD, 1};
  return first;
}

// The last character of `text`; U+0000 of no bytes if it is empty.
inline DecodedCharacter LastCharacter(absl::string_view text) {
  if (text.empty()) return {};
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  const DecodedCharacter last = FirstCharacter(text.substr(at));
  return last.bytes == text.size() - at ? last : DecodedCharacter{0xFFFD, 1};
}

// Whether `c` is added to the character before it, as an accent is.
bool IsMark(char32_t c);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SENTENCES_CHARACTERS_H_
