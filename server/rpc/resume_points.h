#ifndef LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
#define LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_

#include <cstdint>
#include <deque>
#include <optional>

#include "streaming/pause_segmenter.h"
#include "streaming/session.h"

namespace leapstream {

// A place from which another stream can go on with a session.
struct ResumePoint {
  int64_t segment = 0;    // The first segment that the other stream translates.
  SourcePosition source;  // The client sends its source again from here.
  // With pauses: segments found from `source` on that are translated already. With next_segments:
  // tokens of the first word that are.
  int skipped = 0;
  SessionSummary before;  // The segments before `segment`.
};

// The source of one stream by chunks and segments, and from that the places where its session can
// be resumed. Bookkeeping only, without a clock; not thread-safe.
class ResumePoints {
 public:
  // `start`: where the stream begins. `by_pauses`: the server ends segments at pauses. While audio
  // needs no segment, a point is due after each `samples_per_point` samples.
  void Start(const ResumePoint& start, bool by_pauses, int64_t samples_per_point = 0);

  // The number that the next chunk must have.
  int64_t next_chunk() const { return last_chunk_ + 1; }
  void TakeChunk() { ++last_chunk_; }
  // The client's or a pause's end of a segment.
  void EndSegment() { EndSegmentAt({last_chunk_, 0}); }
  void EndSegmentAt(SourcePosition end) { ends_.push_back(end); }

  // The point after a segment that the session has completed.
  ResumePoint AfterSegment(const SegmentCompleted& completed);
  // The point, if one is due, after `samples` of audio more, of which `segmenter` has found the
  // segments. The client keeps its source since the last point, and there may be hours of quiet, or
  // of noise in a segment whose translation ended after its first minute.
  std::optional<ResumePoint> AfterAudio(const PauseSegmenter& segmenter, int64_t samples);

  // Remembers a point as the latest. False, and nothing is changed, if a later one is known.
  bool Record(const ResumePoint& point);
  const ResumePoint& latest() const { return latest_; }

 private:
  bool by_pauses_ = false;
  int64_t samples_per_point_ = 0;
  int64_t samples_since_point_ = 0;  // Audio since AfterAudio() gave a point.
  int64_t last_chunk_ = 0;
  int64_t first_end_ = 1;            // The number of the segment that ends_ begins with.
  std::deque<SourcePosition> ends_;  // Where segments end that the session has not completed.
  ResumePoint latest_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
