#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_LOWER_CASE_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_LOWER_CASE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The text in lower case, each character by itself as Perl's lc() and Moses' lowercase.perl do it:
// a sigma at a word's end is no exception. A byte that is
// part of no character becomes U+FFFD.
std::string LowerCase(absl::string_view text);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_LOWER_CASE_H_
