#ifndef LEAPSTREAM_METRICS_CHRF_H_
#define LEAPSTREAM_METRICS_CHRF_H_

#include <string>

#include "absl/types/span.h"

namespace leapstream::metrics {

// sacreBLEU 2's signature of the computation below, with the version that its tests compare with.
inline constexpr char kChrfSignature[] =
    "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0";

// chrF2 (Popović 2015) of a corpus as sacreBLEU computes it by default: the F-score with beta 2 of
// the mean precision and recall over character n-grams of order 1 to 6, without white space. An
// order does not count if one side has no n-grams of it. The result is in [0, 100]. There is one
// reference; `translations` and `references` have one length and are UTF-8.
double Chrf(absl::Span<const std::string> translations, absl::Span<const std::string> references);

// Returns the score as sacreBLEU prints it: "chrF2|nrefs:1|… = 48.51".
std::string ChrfToString(double score);

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_CHRF_H_
