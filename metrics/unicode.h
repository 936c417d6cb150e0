#ifndef LEAPSTREAM_METRICS_UNICODE_H_
#define LEAPSTREAM_METRICS_UNICODE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::metrics {

// The code points of UTF-8; each byte that is none becomes U+FFFD.
std::u32string CodePoints(absl::string_view text);

// White space as Python's str.split() and str.strip() see it.
bool IsSpace(char32_t c);

// Python's text.split(): the words between white space, as views of `text`.
std::vector<absl::string_view> SplitWords(absl::string_view text);

// Python's text.rstrip().
absl::string_view StripTrailingSpace(absl::string_view text);

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_UNICODE_H_
