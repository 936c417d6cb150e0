#ifndef LEAPSTREAM_METRICS_UNICODE_H_
#define LEAPSTREAM_METRICS_UNICODE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leapstream::metrics {

// The first code point of `text`, which is not empty. `*size` gets its size in bytes. A byte that
// is no UTF-8 is U+FFFD, here and below.
char32_t FirstCodePoint(absl::string_view text, size_t* size);

// The code points of UTF-8 text.
std::u32string CodePoints(absl::string_view text);

// The characters of `text`, each a view of its bytes.
std::vector<absl::string_view> Characters(absl::string_view text);

// Whether `c` is of the general category N, P and S respectively, as in Python's package `regex`.
bool IsNumber(char32_t c);
bool IsPunctuation(char32_t c);
bool IsSymbol(char32_t c);

// Whether most characters of these texts, white space left out, are of scripts without spaces
// (base/scripts.h).
bool AreWrittenWithoutSpaces(absl::Span<const std::string> texts);

// Whether almost all characters of scripts without spaces in these texts are Han or punctuation.
bool AreChinese(absl::Span<const std::string> texts);

// Whether the stretches between white space in these texts are longer than words are, on average.
bool HaveAlmostNoSpaces(absl::Span<const std::string> texts);

// The words between white space, as views of `text`: Python's text.split().
std::vector<absl::string_view> SplitWords(absl::string_view text);

// The text without white space at its end, and at both ends: Python's text.rstrip() and
// text.strip().
absl::string_view StripTrailingSpace(absl::string_view text);
absl::string_view StripSpace(absl::string_view text);

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_UNICODE_H_
