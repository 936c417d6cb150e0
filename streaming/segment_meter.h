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

// The source of a segment that is complete, as far as its figures depend on it.
struct SourceFigures {
  int tokens = 0;         // Source tokens read, </s> included; of speech, encoder states.
  bool finished = false;  // Of text, whether </s> is one of `tokens`.
  double length = 0;      // All that was read, in the unit of the delays.
  absl::Duration audio;   // Speech: all that was read.
  // The words of text; none of pieces and ids. Null: speech, whose delays are milliseconds.
  const metrics::SourceWordEnds* words = nullptr;
};

// Measures one session: each segment's lagging and times, and the sums over all of them. Delays are
// source tokens, </s> included, or milliseconds of speech. Of the step thread; not thread-safe.
class SegmentMeter {
 public:
  // `before`: the sums of the segments that another stream of the session completed.
  explicit SegmentMeter(SessionSummary before) : summary_(std::move(before)) {}

  // A segment begins. Its lagging is measured from nothing.
  void Begin(SteadyTime now);

  // The session was able to act for so long and waited for the step loop.
  void RecordQueue(absl::Duration waited) { stats_.queue += waited; }
  // The session's batch took so long in the model, and waited there for other sessions' turns.
  void RecordStep(absl::Duration compute, absl::Duration waited) {
    stats_.compute += compute;
    stats_.queue += waited;
  }

  // A target token, or the segment's </s>, was written when `delay` of the source had been read.
  void RecordToken(double delay);
  // The segment's translation has grown by `text`, which is whole characters.
  void RecordText(absl::string_view text, double delay);
  // The segment's first target token was written. Returns how long after the segment's beginning.
  absl::Duration RecordFirstToken(SteadyTime now) { return stats_.first_token = now - opened_; }

  // The segment is complete: `unsent` is the rest of its text. Adds its figures to the sums.
  SegmentStats Complete(const SourceFigures& source, int target_tokens, absl::string_view unsent);
  // Source was left untranslated, or dropped without being read.
  void RecordUntranslated(int source_tokens) {
    summary_.untranslated_source_tokens += source_tokens;
  }
  void RecordDropped(int64_t bytes) { summary_.dropped_source_bytes += bytes; }

  // The sums so far, of complete segments; lagging figures are sums too.
  const SessionSummary& so_far() const { return summary_; }
  // The sums at the end of the session; lagging figures are means.
  SessionSummary Summary() const;

 private:
  double Computed() const {  // In ms, how long the segment could act but had not yet.
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
