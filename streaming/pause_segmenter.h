#ifndef LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_
#define LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "streaming/session.h"

namespace leapstream {

struct PauseRule {
  static constexpr absl::Duration kMinDuration = absl::Milliseconds(100);
  static constexpr absl::Duration kMaxDuration = absl::Minutes(1);
  static constexpr double kMinThresholdDb = -90, kMaxThresholdDb = -1;

  absl::Duration duration = absl::ZeroDuration();  // 0: no pause ends a segment.
  double threshold_db = -40;                       // Of full scale; what is below it is quiet.

  bool on() const { return duration > absl::ZeroDuration(); }
  // INVALID_ARGUMENT: out of range.
  absl::Status Check() const;
};

// Cuts a stream of audio into segments. A segment begins kLeadIn before the first 10 ms that are
// not quiet, and ends when it has been quiet for as long as the rule says; the quiet between two is
// of neither. Quiet is a root mean square below the rule's threshold. However the audio is cut into
// chunks, the segments are the same. Knows nothing of sessions. Not thread-safe.
class PauseSegmenter {
 public:
  static constexpr absl::Duration kLeadIn = absl::Milliseconds(200);

  struct Part {  // Of one segment.
    AudioSamples samples;
    bool ends_segment = false;
    SourcePosition end;  // If it does.
  };

  // Goes on at `from`, of whose segments the first `drops` are not given out.
  PauseSegmenter(const PauseRule& rule, int sample_rate, SourcePosition from = {}, int drops = 0);

  // The chunk that `chunks` others came before. The parts are in order; all but the last one end
  // their segments.
  std::vector<Part> Append(int64_t chunks, const AudioSamples& samples);
  // The client's own end, after `chunks` chunks. Whether a segment was open; else nothing changes.
  bool EndSegment(int64_t chunks);

  // Between segments, where a new one of these would cut as this one will. Nothing: in a segment,
  // or before the end of the last one that is not given out.
  std::optional<SourcePosition> restart() const;
  // In a segment that nobody needs any more: where a new one, which gives out none of drops() of
  // its segments, would cut as this one will. Nothing: between segments.
  std::optional<SourcePosition> last_loud() const;
  int drops() const { return drops_; }

 private:
  void Restart(SourcePosition at);

  const size_t frame_;         // Samples.
  const int64_t lead_in_;      // Frames,
  const int64_t pause_;        // the same.
  const double quiet_energy_;  // Of a frame: less is quiet.
  int64_t skip_;               // Samples that are not of this one.
  int drops_;  // Segments that are not given out; the open one, or the next one, counts.

  AudioSamples held_;    // Not given out yet. Between segments: the end of what came.
  size_t in_frame_ = 0;  // Samples of the open frame,
  double energy_ = 0;    // and the sum of their squares.
  bool in_segment_ = false;
  int64_t quiet_ = 0;       // Frames: in a segment since the last loud one, else since mark_.
  SourcePosition restart_;  // Between segments: far enough back, and
  SourcePosition mark_;     // what will be.
  SourcePosition frame_begin_;
  SourcePosition last_loud_;  // Of the open segment: where the last frame that is not quiet begins.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_
