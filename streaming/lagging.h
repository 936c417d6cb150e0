#ifndef LEAPSTREAM_STREAMING_LAGGING_H_
#define LEAPSTREAM_STREAMING_LAGGING_H_

#include "absl/types/span.h"

namespace leapstream {

// Average Lagging (Ma et al. 2019, eq. 8): how many source tokens the translation is behind an
// ideal one that keeps pace. delays[t]: source tokens read when target token t was written, </s>
// included in both; source_length: all of them. `target_length`: delays.size(), or a reference's
// with </s>. The mean runs up to the first token written with the whole source read (over all if
// none is). With a reference's length in pieces this is, on 500 sentences, the `al` of the official
// agent's evaluation. 0 for an empty segment.
double AverageLagging(absl::Span<const int> delays, int source_length, int target_length);

// Length-Adaptive Average Lagging (Papi et al. 2022): as above with the longer of hypothesis and
// reference as target length, </s> included in both: that evaluation's `laal`.
double LengthAdaptiveAverageLagging(absl::Span<const int> delays, int source_length,
                                    int reference_length);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_LAGGING_H_
