#include "metrics/lagging.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace leapstream::metrics {
namespace {

bool NothingToMeasure(absl::Span<const double> delays, double source_length) {
  return delays.empty() || source_length <= 0;
}

int OwnLengthIfNone(int reference_length, absl::Span<const double> delays) {
  return reference_length > 0 ? reference_length : static_cast<int>(delays.size());
}

// The source in chunks, cut into units of `duration`. The last unit of a chunk is shorter if the
// chunk is no multiple of `duration`.
struct SourceUnits {
  // ends[s] is the end of unit s, from 1; ends[0] is the beginning.
  std::vector<double> ends = {0};
  // through[c] is the number of units in the chunks up to c, from 1.
  std::vector<size_t> through = {0};

  void AddChunk(double size, double duration) {
    const auto whole = static_cast<int64_t>(size / duration);
    for (int64_t i = 0; i < whole; ++i) ends.push_back(ends.back() + duration);
    const double rest = size - static_cast<double>(whole) * duration;
    if (rest > 0) ends.push_back(ends.back() + rest);
    through.push_back(ends.size() - 1);
  }
};

Lagging Measure(absl::Span<const double> timestamps, const SegmentTiming& segment, bool aware) {
  Lagging lagging;
  if (NothingToMeasure(timestamps, segment.source_length)) return lagging;
  const double source = segment.source_length;
  const int reference = segment.reference_length;
  lagging.al = AverageLagging(timestamps, source, reference);
  lagging.laal = LengthAdaptiveAverageLagging(timestamps, source, reference);
  lagging.ap = AverageProportion(timestamps, source, reference);
  lagging.dal = DifferentiableAverageLagging(timestamps, source);
  lagging.yaal = YetAnotherAverageLagging(timestamps, source, reference);
  lagging.atd = AverageTokenDelay(
      segment.delays, aware ? absl::MakeConstSpan(segment.elapsed) : absl::Span<const double>(),
      segment.durations);
  lagging.start_offset = timestamps.front();
  lagging.end_offset = timestamps.back() - source;
  return lagging;
}

}  // namespace

double AverageLagging(absl::Span<const double> delays, double source_length, int reference_length) {
  if (NothingToMeasure(delays, source_length)) return 0;
  if (delays.front() > source_length) return delays.front();
  const double pace = source_length / OwnLengthIfNone(reference_length, delays);
  double sum = 0;
  int steps = 0;
  for (const double delay : delays) {
    sum += delay - steps * pace;
    ++steps;
    // A unit that is written after the whole source was read does not lag.
    if (delay >= source_length) break;
  }
  return sum / steps;
}

double LengthAdaptiveAverageLagging(absl::Span<const double> delays, double source_length,
                                    int reference_length) {
  return AverageLagging(delays, source_length,
                        std::max(reference_length, static_cast<int>(delays.size())));
}

double AverageProportion(absl::Span<const double> delays, double source_length,
                         int reference_length) {
  if (NothingToMeasure(delays, source_length)) return 0;
  double sum = 0;
  for (const double delay : delays) sum += delay;
  return sum / (source_length * OwnLengthIfNone(reference_length, delays));
}

double DifferentiableAverageLagging(absl::Span<const double> delays, double source_length) {
  if (NothingToMeasure(delays, source_length)) return 0;
  const double pace = source_length / static_cast<double>(delays.size());
  double sum = 0;
  double last = 0;
  for (size_t i = 0; i < delays.size(); ++i) {
    last = i == 0 ? delays[i] : std::max(delays[i], last + pace);
    sum += last - static_cast<double>(i) * pace;
  }
  return sum / static_cast<double>(delays.size());
}

std::optional<double> YetAnotherAverageLagging(absl::Span<const double> delays,
                                               double source_length, int reference_length) {
  if (NothingToMeasure(delays, source_length)) return std::nullopt;
  const double pace = source_length / std::max(reference_length, static_cast<int>(delays.size()));
  double sum = 0;
  int steps = 0;
  for (const double delay : delays) {
    if (delay >= source_length) break;
    sum += delay - steps * pace;
    ++steps;
  }
  if (steps == 0) return std::nullopt;
  return sum / steps;
}

double AverageTokenDelay(absl::Span<const double> delays, absl::Span<const double> elapsed,
                         UnitDurations durations) {
  if (delays.empty()) return 0;
  SourceUnits source;
  size_t targets_before_chunk = 0;
  double target_end = 0;
  double computed = 0;  // The computation up to the last unit.
  double sum = 0;
  for (size_t i = 0; i < delays.size(); ++i) {
    if (i == 0 || delays[i] != delays[i - 1]) {
      source.AddChunk(delays[i] - (i == 0 ? 0 : delays[i - 1]), durations.source);
      targets_before_chunk = i;
    }
    double compute = 0;
    if (i < elapsed.size()) {
      compute = elapsed[i] - delays[i] - computed;
      computed = elapsed[i] - delays[i];
    }
    target_end = std::max(delays[i], target_end) + durations.target + compute;
    const size_t sources_before_chunk = source.through[source.through.size() - 2];
    const size_t ahead = targets_before_chunk > sources_before_chunk
                             ? targets_before_chunk - sources_before_chunk
                             : 0;
    const size_t matched = std::min(i + 1 - ahead, source.through.back());
    sum += target_end - source.ends[matched];
  }
  return sum / static_cast<double>(delays.size());
}

Lagging MeasureLagging(const SegmentTiming& segment) {
  return Measure(segment.delays, segment, /*aware=*/false);
}

Lagging MeasureComputationAwareLagging(const SegmentTiming& segment) {
  return Measure(segment.elapsed, segment, /*aware=*/true);
}

Lagging MeanLagging(absl::Span<const SegmentTiming> segments, bool computation_aware) {
  Lagging sum;
  double yaal = 0;
  int measured = 0, with_yaal = 0;
  for (const SegmentTiming& segment : segments) {
    if (segment.delays.empty()) continue;
    const Lagging lagging =
        computation_aware ? MeasureComputationAwareLagging(segment) : MeasureLagging(segment);
    sum.al += lagging.al;
    sum.laal += lagging.laal;
    sum.ap += lagging.ap;
    sum.dal += lagging.dal;
    sum.atd += lagging.atd;
    sum.start_offset += lagging.start_offset;
    sum.end_offset += lagging.end_offset;
    ++measured;
    if (lagging.yaal.has_value()) {
      yaal += *lagging.yaal;
      ++with_yaal;
    }
  }
  if (measured == 0) return sum;
  for (double* value :
       {&sum.al, &sum.laal, &sum.ap, &sum.dal, &sum.atd, &sum.start_offset, &sum.end_offset}) {
    *value /= measured;
  }
  if (with_yaal > 0) sum.yaal = yaal / with_yaal;
  return sum;
}

}  // namespace leapstream::metrics
