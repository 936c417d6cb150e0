#ifndef LEAPSTREAM_METRICS_LAGGING_H_
#define LEAPSTREAM_METRICS_LAGGING_H_

#include <optional>
#include <vector>

#include "absl/types/span.h"

// The lag of a simultaneous translation behind its source, as SimulEval 1.1 computes it
// (simuleval/evaluator/scorers/latency_scorer.py). These are pure functions; they know nothing of
// sessions. D[i], i from 1, is the length of the source that had been read when target unit i was
// written. |X|, |Y| and |D| are the lengths of the source, the reference and the translation. The
// unit is the caller's choice (words, pieces, milliseconds) and the same for D and |X|.
namespace leapstream::metrics {

// The time that one unit lasts when it is said, in the unit of the delays.
struct UnitDurations {
  double source = 1;  // SimulEval's value for text: "virtual time 1".
  double target = 1;
};
// SimulEval's values for speech to text, in ms. SimulEval scores a log (also at the end of every
// run of 1.1.1 or later, and with --score-only) as if it came from speech, whatever is in it.
inline constexpr UnitDurations kSpeechDurations = {300, 0};

// The timing of one segment.
struct SegmentTiming {
  std::vector<double> delays;  // D, ascending.
  // D plus the computation up to each target unit, in the same unit as D; may be empty.
  std::vector<double> elapsed;
  double source_length = 0;      // |X|
  int reference_length = 0;      // |Y|; 0: there is no reference, and |D| is used.
  UnitDurations durations = {};  // Only ATD uses these.
};

// All functions below return 0 for a segment with no target or no source.

// Average Lagging, Ma et al. 2019 (arXiv:1810.08398), eq. 8 with |Y| for the translation's length:
//   AL = 1/tau * sum_{i=1..tau} (D[i] - (i - 1) |X| / |Y|),  tau = min{i : D[i] >= |X|}, else |D|.
// AL is D[1] if D[1] is beyond |X| already.
double AverageLagging(absl::Span<const double> delays, double source_length, int reference_length);

// Length-Adaptive Average Lagging, Polák et al. 2022 (arXiv:2204.06028), Papi et al. 2022
// (arXiv:2206.05807): AL with max(|D|, |Y|) in place of |Y|.
double LengthAdaptiveAverageLagging(absl::Span<const double> delays, double source_length,
                                    int reference_length);

// Average Proportion, Cho and Esipova 2016 (arXiv:1606.02012): AP = sum_i D[i] / (|X| |Y|).
double AverageProportion(absl::Span<const double> delays, double source_length,
                         int reference_length);

// Differentiable Average Lagging, Arivazhagan et al. 2019 (arXiv:1906.05218):
//   DAL = 1/|D| * sum_i (D'[i] - (i - 1) |X| / |D|),  D'[1] = D[1],
//   D'[i] = max(D[i], D'[i - 1] + |X| / |D|).
double DifferentiableAverageLagging(absl::Span<const double> delays, double source_length);

// Yet Another Average Lagging, short form, Polák et al. 2025 (arXiv:2509.17349), as OmniSTEval
// computes it (SimulEval 1.1 has no such scorer): LAAL's summand over the units written before the
// source was over, D[i] < |X|. nullopt: there is no such unit; a corpus leaves such segments out.
std::optional<double> YetAnotherAverageLagging(absl::Span<const double> delays,
                                               double source_length, int reference_length);

// Average Token Delay, Kano et al. 2023 (arXiv:2211.13173): the mean over target units of the time
// between the end of the unit and the end of the source unit that it is matched with. Units written
// at one delay make a chunk; unit i is matched with source unit
//   s(i) = min(i - max(0, Y_c - X_c), X_{c+1}),
// where X_c and Y_c count the units of source and target in the chunks before its own. `elapsed`
// adds the computation for a unit, so that it ends later; empty: nothing is added.
double AverageTokenDelay(absl::Span<const double> delays, absl::Span<const double> elapsed,
                         UnitDurations durations = UnitDurations());

// All figures of a segment. StartOffset is D[1], EndOffset is D[|D|] - |X|.
struct Lagging {
  double al = 0;
  double laal = 0;
  double ap = 0;
  double dal = 0;
  double atd = 0;
  double start_offset = 0;
  double end_offset = 0;
  std::optional<double> yaal;
};

// Measures one segment by the source that had been read (computation-unaware).
Lagging MeasureLagging(const SegmentTiming& segment);
// Measures with `elapsed` in place of D (computation-aware; ATD as above); all 0 without `elapsed`.
Lagging MeasureComputationAwareLagging(const SegmentTiming& segment);

// Means over the segments that have a target, as in SimulEval. The mean of yaal is over the
// segments that have a yaal.
Lagging MeanLagging(absl::Span<const SegmentTiming> segments, bool computation_aware);

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_LAGGING_H_
