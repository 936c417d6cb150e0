#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_CODE_POINTS_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_CODE_POINTS_H_

#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace leapstream {

// The code points of UTF-8. A byte that is part of no character becomes U+FFFD.
std::u32string ToCodePoints(absl::string_view text);
// The UTF-8 of code points, each at most U+10FFFF and no surrogate.
std::string ToUtf8(std::u32string_view code_points);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_CODE_POINTS_H_
