#ifndef LEAPSTREAM_CLIENT_CLI_CHARACTERS_H_
#define LEAPSTREAM_CLIENT_CLI_CHARACTERS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// The C library's knowledge of UTF-8 text, whatever the program's locale is. Text that is not UTF-8
// counts as a character per byte. Thread-safe.
namespace leapstream::client {

// U+FEFF. Some editors begin a file with it.
inline constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Bytes of the first character. `text` is not empty.
size_t CharacterBytes(absl::string_view text);
// Columns that a terminal needs for `text`; control characters need none.
int DisplayWidth(absl::string_view text);

std::string Counted(int64_t number, absl::string_view noun);  // Returns "1 token", "2 tokens".

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CHARACTERS_H_
