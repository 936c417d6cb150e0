#ifndef LEAPSTREAM_STREAMING_SEGMENT_METER_H_
#define LEAPSTREAM_STREAMING_SEGMENT_METER_H_

#include <cstdint>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "metrics/lagging.h"
#include "metrics/word_timing.h"
#include "streaming/session.h"

namespace leapstream {

// Figures of a complete segment's source.
struct SourceFigures {
  int tokens = 0;         // Source tokens read, </s> included; for speech, encoder states.
  bool finished = false;  // For text: whether </s> is one of `tokens`.
  double length = 0;      // The length of the source that was read, in the unit of the delays.
  absl::Duration audio;   // For speech: the length of the audio that was read.
  // The words of text; without words if the source came as pieces or ids. Null for speech, whose
  // delays are milliseconds.
  const metrics::SourceWordEnds* words = nullptr;
};

// Measures one session: each segment's lagging and times, and the sums over all segments. Delays
// are source tokens, </s> included, or milliseconds of speech. Used by the step thread only; not
// thread-safe.
class SegmentMeter {
 public:
  // `before`: the sums of the segments that another stream of the session completed.
  explicit SegmentMeter(SessionSummary before) : summary_(std::move(before)) {}

  // Begins a segment, whose lagging is measured anew.
  void Begin(SteadyTime now);

  // Records the time for which the session was able to act but waited for the step loop.
  void RecordQueue(absl::Duration waited) { stats_.queue += waited; }
  // Records the times that the session's batch computed in the model, and waited there for the
  // turns of other sessions.
  void RecordStep(absl::Duration compute, absl::Duration waited) {
    stats_.compute += compute;
    stats_.queue += waited;
  }
  // Records what a turn cost: the rows in the model, and whether some of them were the decoder's.
  void RecordCost(StateCost cost) {
    stats_.cost += cost;
    if (cost.decoder_rows > 0) ++stats_.decoder_steps;
  }

  // Records that a target token, or the segment's </s>, was written after `delay` of the source.
  void RecordToken(double delay);
  // Records that the segment's translation has grown by `text`, which is whole characters.
  void RecordText(absl::string_view text, double delay);
  // Records that the segment's first target token was written. Returns the time since the segment's
  // beginning.
  absl::Duration RecordFirstToken(SteadyTime now) { return stats_.first_token = now - opened_; }

  // Completes the segment, whose text ends with `unsent`, and adds its figures to the sums.
  SegmentStats Complete(const SourceFigures& source, int target_tokens, absl::string_view unsent);
  // These two record source that was left untranslated, or dropped without being read.
  void RecordUntranslated(int source_tokens) {
    summary_.untranslated_source_tokens += source_tokens;
  }
  void RecordDropped(int64_t bytes) { summary_.dropped_source_bytes += bytes; }

  // The sums over the complete segments so far; lagging figures are sums, too.
  const SessionSummary& so_far() const { return summary_; }
  // The sums at the end of the session; lagging figures are means.
  SessionSummary Summary() const;

 private:
  double Computed() const {  // The time in ms for which the segment could act but had not yet.
    return absl::ToDoubleMilliseconds(stats_.compute + stats_.queue);
  }
  void MeasureWords(const SourceFigures& source);

  // The open segment:
  SteadyTime opened_;
  metrics::SegmentTiming timing_;
  // Timing of target words. The delays of text are in source tokens until the segment is complete.
  metrics::SegmentTiming word_timing_;
  metrics::TargetWords target_words_{metrics::TargetUnit::kWordOrCharacter};
  SegmentStats stats_;

  SessionSummary summary_;  // The session's sums.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_METER_H_
