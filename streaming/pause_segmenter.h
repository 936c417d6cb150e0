#ifndef LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_
#define LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
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

// Cuts a stream of audio into segments, at pauses and before they become too long. A frame of 10 ms
// is quiet if its root mean square is below the rule's threshold, or below kSilenceDb if the rule
// is off.
//
// A segment begins with the first frame that is not quiet, and with the quiet before it, of which
// there is kLeadIn at most, or kSearch if the rule is off. It ends
//  - after as much quiet as the rule's duration;
//  - where the client ends it;
//  - at a cut before its limit. In the last kSearch before the limit, the quietest kStretch is
//    looked for, the first one if there are several, and the cut is in its middle. One that is
//    quiet itself is taken at once. kSearch and kStretch are shorter if the limit is less than
//    twice as long.
// The quiet between two segments belongs to neither. If the rule is off, quiet that is as long as
// the limit is a segment without samples, and so is the quiet that the client ends.
//
// The segments do not depend on how the audio is cut into chunks. A part of a segment is given out
// as soon as it is known to belong to it, so with the chunk that has it, but for the last kSearch
// before the limit. Knows nothing of sessions. Not thread-safe.
class PauseSegmenter {
 public:
  static constexpr absl::Duration kLeadIn = absl::Milliseconds(200);
  static constexpr absl::Duration kSearch = absl::Seconds(3);
  static constexpr absl::Duration kStretch = absl::Milliseconds(200);
  static constexpr double kSilenceDb = -60;

  struct Input {
    int sample_rate = kSpeechSampleRate;
    absl::Duration limit = absl::InfiniteDuration();  // No segment becomes longer.
  };
  struct Start {  // The place from which a stream goes on.
    SourcePosition at;
    int drops = 0;       // The first segments from there, so many, are not given out.
    bool begun = false;  // The segment that is open for the client has begun before.
  };
  struct Part {  // A part of one segment.
    AudioSamples samples;
    SourcePosition begin;  // Only `audio` is set.
    bool ends_segment = false;
    SourcePosition end;   // The segment's end, if this part ends it.
    bool is_cut = false;  // It ends there because of its limit.
  };

  PauseSegmenter(const PauseRule& rule, const Input& input, const Start& start);
  PauseSegmenter(const PauseRule& rule, const Input& input) : PauseSegmenter(rule, input, {}) {}

  // Takes the chunk after the first `chunks` ones. The parts that it returns are in order; all but
  // the last one end their segments.
  std::vector<Part> Append(int64_t chunks, const AudioSamples& samples);
  // Ends the open segment, since the client ends it after `chunks` chunks. Returns its last part.
  // With pauses, nullopt: none was open, and nothing has changed; or the open segment is not given
  // out. Without pauses there always is a part: it ends a segment without samples if nothing was
  // heard, and the next one if the open segment is not given out.
  std::optional<Part> EndSegment(int64_t chunks);
  // Ends the stream after `chunks` chunks: EndSegment(), if there is something to end.
  std::optional<Part> Finish(int64_t chunks);

  // A place between segments from which a new segmenter would cut as this one will. nullopt: a
  // segment is open, or the last segment that is not given out has not ended.
  std::optional<SourcePosition> restart() const;

 private:
  struct Frame {
    double energy;  // The sum of the squares of its samples.
    SourcePosition end;
  };

  void Take(const Frame& frame, std::vector<Part>* parts);
  void TakeQuiet(SourcePosition here, std::vector<Part>* parts);
  void TakeBeforeLimit(const Frame& frame, std::vector<Part>* parts);
  // Gives out the first `count` held samples, or drops them.
  Part Give(size_t count);
  void Drop(size_t count);
  void EndAt(SourcePosition end, bool is_cut, std::vector<Part>* parts);
  void Restart(SourcePosition at);
  SourcePosition EndOfChunks(int64_t chunks) const {
    return {chunks, 0, first_ + static_cast<int64_t>(held_.size())};
  }

  const size_t frame_;         // The number of samples of a frame.
  const int64_t pause_;        // The number of quiet frames that end a segment; 0: none do.
  const double quiet_energy_;  // A frame of less energy is quiet.
  const int64_t limit_;        // The most frames of a segment.
  const int64_t search_;       // The number of frames before the limit among which the cut is.
  const size_t stretch_;       // The number of frames of kStretch.
  const int64_t lead_in_;      // The most quiet frames before a segment's first one that is not.
  size_t skip_;                // The number of samples to come that are before the start.
  int drops_;   // The number of segments that are not given out, from the open or next one on.
  bool begun_;  // The segment that is open for the client has begun.

  AudioSamples held_;  // Samples not given out yet. Between segments: the last ones that came.
  int64_t first_;      // The number of samples before these.
  size_t looked_ = 0;  // The number of these that were looked at.
  // After a cut, the frames behind it are looked at again: their ends.
  std::deque<SourcePosition> seen_;
  size_t in_frame_ = 0;  // The number of samples of the open frame.
  double energy_ = 0;    // The sum of squares of these samples.
  bool in_segment_ = false;
  int64_t frames_ = 0;  // The frames of the open segment, or since the end of the last one.
  int64_t quiet_ = 0;  // Quiet frames: in a segment since the last loud frame, else since mark_.
  std::vector<Frame> before_limit_;  // The frames among which the cut will be.
  double quietest_ = 0;              // The energy of the quietest stretch of these, and
  size_t cut_ = 0;                   // the number of them before its middle; 0: there is none.
  SourcePosition restart_;  // Between segments: the result of restart().
  SourcePosition mark_;     // Between segments: restart_ becomes this when it is far enough back.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_PAUSE_SEGMENTER_H_
