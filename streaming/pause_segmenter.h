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
  double threshold_db = -40;                       // Audio below so many dB of full scale is quiet.

  bool on() const { return duration > absl::ZeroDuration(); }
  // INVALID_ARGUMENT: a value is out of range.
  absl::Status Check() const;
};

// Cuts a stream of audio into segments. A frame of 10 ms is quiet if its root mean square is below
// the rule's threshold. A segment begins kLeadIn before the first frame that is not quiet, and ends
// after as much quiet as the rule's duration. The quiet between two segments belongs to neither.
// The segments do not depend on how the audio is cut into chunks. Knows nothing of sessions. Not
// thread-safe.
class PauseSegmenter {
 public:
  static constexpr absl::Duration kLeadIn = absl::Milliseconds(200);

  struct Part {  // A part of one segment.
    AudioSamples samples;
    bool ends_segment = false;
    SourcePosition end;  // The segment's end, if this part ends it.
  };

  // The stream goes on at `from`. The first `drops` segments from there are not given out.
  PauseSegmenter(const PauseRule& rule, int sample_rate, SourcePosition from = {}, int drops = 0);

  // Takes the chunk after the first `chunks` ones. The parts that it returns are in order; all but
  // the last one end their segments.
  std::vector<Part> Append(int64_t chunks, const AudioSamples& samples);
  // Ends the open segment, since the client ends it after `chunks` chunks. False: none was open,
  // and nothing has changed; or the open segment is not given out.
  bool EndSegment(int64_t chunks);

  // A place between segments from which a new segmenter would cut as this one will. nullopt: a
  // segment is open, or the last segment that is not given out has not ended.
  std::optional<SourcePosition> restart() const;
  // A place in the open segment from which a new segmenter that does not give out drops() segments
  // would cut as this one will. For a segment that nobody needs any more. nullopt: no segment is
  // open.
  std::optional<SourcePosition> last_loud() const;
  int drops() const { return drops_; }

 private:
  void Restart(SourcePosition at);

  const size_t frame_;         // The number of samples of a frame.
  const int64_t lead_in_;      // The number of frames of kLeadIn.
  const int64_t pause_;        // The number of quiet frames that end a segment.
  const double quiet_energy_;  // A frame of less energy is quiet.
  int64_t skip_;  // The number of samples to come that are before the beginning, `from`.
  int drops_;     // The number of segments that are not given out, from the open or next one on.

  AudioSamples held_;    // Samples not given out yet. Between segments: the last ones that came.
  size_t in_frame_ = 0;  // The number of samples of the open frame.
  double energy_ = 0;    // The sum of squares of these samples.
  bool in_segment_ = false;
  int64_t quiet_ = 0;  // Quiet frames: in a segment since the last loud frame, else since mark_.
  SourcePosition restart_;  // Between segments: the result of restart().
  SourcePosition mark_;     // Between segments: restart_ becomes this when it is far enough back.
  SourcePosition frame_begin_;
  SourcePosition last_loud_;  // The beginning of the open segment's last frame that is not quiet.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_
