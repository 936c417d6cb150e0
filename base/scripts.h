#ifndef LEAPSTREAM_BASE_SCRIPTS_H_
#define LEAPSTREAM_BASE_SCRIPTS_H_

#include "absl/strings/string_view.h"

namespace leapstream {

// Whether `c` is of a script in which no space stands between words: Chinese, Japanese, Thai, Lao,
// Burmese, Khmer, Tibetan and some that are related to them; also their punctuation and full-width
// forms.
bool IsOfScriptWithoutSpaces(char32_t c);

// Whether a text (UTF-8) has a character of such a script.
bool HasScriptWithoutSpaces(absl::string_view text);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SCRIPTS_H_
