#ifndef LEAPSTREAM_BASE_QUOTED_H_
#define LEAPSTREAM_BASE_QUOTED_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// The length of the character at the front of `text`; `*character` gets its code point. 0: the text
// is not UTF-8 there.
inline size_t Utf8Character(absl::string_view text, uint32_t* character) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = text.empty() ? 0xff : byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  uint32_t value = length == 1 ? lead : lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
  *character = value;
  return length;
}

// Whether a character changes the look of the text around it: it begins a line, steers a terminal,
// turns the direction of writing, or is not seen.
inline bool IsDisguise(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) ||  // Controls.
         c == 0xad || c == 0x34f || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) ||  // Zero width, and marks of direction.
         (c >= 0x2028 && c <= 0x202e) ||  // Separators of lines, overrides.
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

// `text` on one line, with escapes for every disguise and for bytes that are not UTF-8. Text longer
// than `max_bytes` is cut between characters, and the result says how long it was.
inline std::string OneLine(absl::string_view text, size_t max_bytes) {
  std::string line;
  size_t at = 0;
  while (at < text.size() && at < max_bytes) {
    uint32_t character = 0;
    const size_t length = Utf8Character(text.substr(at), &character);
    if (length > 0 && at + length > max_bytes) break;
    if (length == 0) {
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned char>(text[at]));
    } else if (character == '\n') {
      line += "\\n";
    } else if (character == '\r') {
      line += "\\r";
    } else if (character == '\t') {
      line += "\\t";
    } else if (!IsDisguise(character)) {
      line.append(text.data() + at, length);
    } else if (character < 0x80) {
      absl::StrAppendFormat(&line, "\\x%02x", character);
    } else if (character < 0x10000) {
      absl::StrAppendFormat(&line, "\\u%04x", character);
    } else {
      absl::StrAppendFormat(&line, "\\U%08x", character);
    }
    at += length == 0 ? 1 : length;
  }
  if (at < text.size()) absl::StrAppend(&line, "... (", text.size(), " bytes)");
  return line;
}

// A value from outside, ready for a message: in quotes, on one line, cut. A status travels in
// HTTP/2 headers, which have a limit, and characters that are not printable would triple.
inline std::string Quoted(absl::string_view value, size_t max_bytes = 100) {
  // Not within a character, whose later bytes are 10xxxxxx.
  size_t end = std::min(value.size(), max_bytes);
  while (end < value.size() && end > max_bytes - 3 && (value[end] & 0xC0) == 0x80) --end;
  const std::string shown =
      absl::StrReplaceAll(value.substr(0, end), {{"\\", "\\\\"}, {"\"", "\\\""}});
  std::string quoted = absl::StrCat("\"", OneLine(shown, shown.size()));
  if (end == value.size()) return absl::StrCat(quoted, "\"");
  return absl::StrCat(quoted, "...\" (", value.size(), " bytes)");
}

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_QUOTED_H_
