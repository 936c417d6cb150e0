#ifndef LEAPSTREAM_BASE_QUOTED_H_
#define LEAPSTREAM_BASE_QUOTED_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/utf8.h"

namespace leapstream {

// Whether a character changes the look of the text around it: it begins a line, steers a terminal,
// turns the direction of writing, or is not seen.
inline bool IsDisguise(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) ||  // Controls.
         c == 0xad || c == 0x34f || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) ||  // Zero width, and marks of direction.
         (c >= 0x2028 && c <= 0x202e) ||  // Separators of lines, overrides.
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

// `text` on one line, with escapes for every disguise and for bytes that are not UTF-8. Text longer
// than `max_bytes` is cut between characters, and the result says how long it was.
inline std::string OneLine(absl::string_view text, size_t max_bytes = 200) {
  std::string line;
  size_t at = 0;
  while (at < text.size() && at < max_bytes) {
    size_t length = 1;  // Of bytes that are no character, each one is shown.
    char32_t character = 0;
    const bool valid = ReadUtf8(text.substr(at), &length, &character) == Utf8::kCharacter;
    if (at + length > max_bytes) break;
    if (!valid) {
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
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<uint32_t>(character));
    } else if (character < 0x10000) {
      absl::StrAppendFormat(&line, "\\u%04x", static_cast<uint32_t>(character));
    } else {
      absl::StrAppendFormat(&line, "\\U%08x", static_cast<uint32_t>(character));
    }
    at += length;
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
