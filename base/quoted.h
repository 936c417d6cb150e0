#ifndef LEAPSTREAM_BASE_QUOTED_H_
#define LEAPSTREAM_BASE_QUOTED_H_

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// A value from outside, as a message may show it: in quotes, on one line, cut after 100 bytes. A
// status travels in HTTP/2 headers, which have a limit, and what is not printable would triple.
inline std::string Quoted(absl::string_view value) {
  constexpr size_t kMaxBytes = 100;
  if (value.size() <= kMaxBytes) return absl::StrCat("\"", absl::Utf8SafeCHexEscape(value), "\"");
  size_t end = kMaxBytes;  // Not within a character: those bytes are 10xxxxxx.
  while (end > kMaxBytes - 3 && (value[end] & 0xC0) == 0x80) --end;
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(value.substr(0, end)), "...\" (", value.size(),
                      " bytes)");
}

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_QUOTED_H_
