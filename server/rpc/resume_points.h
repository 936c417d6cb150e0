#ifndef LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
#define LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
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
// be resumed. Bookkeeping only, without a clock. Thread-safe: the source's side numbers chunks and
// ends segments, the session's completes them.
class ResumePoints {
 public:
  // Before any other call. `start`: where the stream begins. `by_pauses`: the server ends segments at pauses. While audio
  // needs no segment, a point is due after each `samples_per_point` samples.
  void Start(const ResumePoint& start, bool by_pauses, int64_t samples_per_point = 0);

  // How many chunks came, those before the stream's start counted.
  int64_t chunks() const;
  void TakeChunk();
  // The client ends a segment after the last chunk, or a pause does.
  void EndSegment();
  void EndSegmentAt(SourcePosition end);

  // The point after a segment that the session has completed.
  ResumePoint AfterSegment(const SegmentCompleted& completed);
  // The point, if one is due, after `samples` of audio more, of which `segmenter` has found the
  // segments. The client keeps its source since the last point, and there may be hours of quiet, or
  // of noise in a segment whose translation ended after its first minute.
  std::optional<ResumePoint> AfterAudio(const PauseSegmenter& segmenter, int64_t samples);

  // Remembers a point as the latest. False, and nothing is changed, if a later one is known.
  bool Record(const ResumePoint& point);
  ResumePoint latest() const;

 private:
  bool by_pauses_ = false;
  int64_t samples_per_point_ = 0;
  int64_t samples_since_point_ = 0;  // Of the source's side: audio since AfterAudio() gave a point.
  mutable Mutex mutex_;
  int64_t chunks_ ABSL_GUARDED_BY(mutex_) = 0;
  // Ends of segments that the session has not completed, and the number of the first of them.
  std::deque<SourcePosition> ends_ ABSL_GUARDED_BY(mutex_);
  int64_t first_end_ ABSL_GUARDED_BY(mutex_) = 1;
  ResumePoint latest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
