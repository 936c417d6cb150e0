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
  // The part of the source after `source` that is translated already. Of audio it is the number
  // of whole segments; with next_segments it is the number of tokens of the first word.
  int skipped = 0;
  // With next_segments: see ResumeFrom::in_text. Of audio without pauses: the client's segment has
  // begun before.
  bool in_text = false;
  // With sentences `source` is the beginning of a sentence, from which another stream finds the
  // same ones. If `segment` begins later in that sentence, this is where.
  std::optional<SourcePosition> begin;
  // The client's end of the segment before `segment` is still to come: the server ended it, or of
  // audio without pauses its translation ended early.
  bool continues = false;
  SessionSummary before;  // The sums of the segments before `segment`.
};

// Counts the chunks and segments of one stream's source, and finds the places from which its
// session can be resumed. Has no clock. Thread-safe: the thread that receives source numbers chunks
// and ends segments, and the session's thread completes them.
class ResumePoints {
 public:
  // The sources of streams: text, pieces or ids; audio that a PauseSegmenter cuts, without pauses
  // or with them.
  enum class Source { kText, kAudio, kAudioWithPauses };
  // To be called before anything else. The stream begins at `start`. With pauses, a point is due
  // after each `samples_per_point` samples of audio that no segment needs.
  void Start(const ResumePoint& start, Source source, int64_t samples_per_point = 0);

  // The number of chunks that have come, including those before the stream's start.
  int64_t chunks() const;
  void TakeChunk();
  // Ends a segment after the last chunk: the client has said so.
  void EndSegment() { EndSegmentAt({chunks(), 0}, false); }
  // Ends a segment at a place that a segmenter has found. `continues`: the client's end is still to
  // come.
  void EndSegmentAt(SourcePosition end, bool continues);
  // The server ends segments where sentences end. To be called directly after Start().
  void set_by_sentences() { by_sentences_ = true; }

  // The point after a segment that the session has completed.
  ResumePoint AfterSegment(const SegmentCompleted& completed);
  // The point after `samples` more samples of audio, if one is due. `segmenter` has found their
  // segments. Without such points a client would keep hours of quiet.
  std::optional<ResumePoint> AfterAudio(const PauseSegmenter& segmenter, int64_t samples);

  // Remembers a point as the latest one. False: a later one is known, and stays.
  bool Record(const ResumePoint& point);
  ResumePoint latest() const;

 private:
  Source source_ = Source::kText;
  bool by_sentences_ = false;
  int64_t samples_per_point_ = 0;
  // The samples since AfterAudio() gave a point. Used by the thread that receives source only.
  int64_t samples_since_point_ = 0;
  mutable Mutex mutex_;
  int64_t chunks_ ABSL_GUARDED_BY(mutex_) = 0;
  // The ends of segments that the session has not completed, and the number of the first such
  // segment.
  struct End {
    SourcePosition at;
    bool continues = false;
  };
  std::deque<End> ends_ ABSL_GUARDED_BY(mutex_);
  int64_t first_end_ ABSL_GUARDED_BY(mutex_) = 1;
  SourcePosition sentence_ ABSL_GUARDED_BY(mutex_);  // The beginning of the first one's sentence.
  // The last segment of audio without pauses whose translation ended early. If the client ends it,
  // its end is that of the next segment, too (Session::End::kAnswered).
  int64_t early_ ABSL_GUARDED_BY(mutex_) = 0;
  ResumePoint latest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
