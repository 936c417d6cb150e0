#ifndef LEAPSTREAM_CLIENT_HYPOTHESES_JSON_OBJECT_H_
#define LEAPSTREAM_CLIENT_HYPOTHESES_JSON_OBJECT_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace leapstream::client {

// Returns the end of the object in `line`, which begins or continues it; npos: the object goes on
// after the line. `*open` is how many objects and arrays were open before the line, and is set to
// how many are after it. In JSON no text goes over the end of a line: one that does ends them all.
inline size_t EndOfJsonObject(absl::string_view line, int* open) {
  bool text = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (text && c == '\\') ++i;
    if (c == '"') text = !text;
    if (text) continue;
    if (c == '{' || c == '[') ++*open;
    if ((c == '}' || c == ']') && --*open <= 0) return i + 1;
  }
  return text ? line.size() : absl::string_view::npos;
}

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HYPOTHESES_JSON_OBJECT_H_
