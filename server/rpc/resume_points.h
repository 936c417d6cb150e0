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
  // The part of the source after `source` that is translated already. With pauses it is the number
  // of whole segments; with next_segments it is the number of tokens of the first word.
  int skipped = 0;
  bool in_text = false;  // With next_segments: see ResumeFrom::in_text.
  // With sentences `source` is the beginning of a sentence, from which another stream finds the
  // same ones. If `segment` begins later in that sentence, this is where.
  std::optional<SourcePosition> begin;
  // The server ended the segment before `segment`, and the client's end is still to come.
  bool continues = false;
  SessionSummary before;  // The sums of the segments before `segment`.
};

// Counts the chunks and segments of one stream's source, and finds the places from which its
// session can be resumed. Has no clock. Thread-safe: the thread that receives source numbers chunks
// and ends segments, and the session's thread completes them.
class ResumePoints {
 public:
  // To be called before anything else. The stream begins at `start`. `by_pauses`: the server ends
  // segments at pauses. While no segment needs the audio that comes, a point is due after each
  // `samples_per_point` samples.
  void Start(const ResumePoint& start, bool by_pauses, int64_t samples_per_point = 0);

  // The number of chunks that have come, including those before the stream's start.
  int64_t chunks() const;
  void TakeChunk();
  // Ends a segment after the last chunk: the client has said so.
  void EndSegment();
  // Ends a segment at a place that a pause has given.
  void EndSegmentAt(SourcePosition end);
  // Ends a segment at a place where a sentence begins. REQUIRES: by_sentences was set.
  void EndSentenceAt(SourcePosition end);
  // The server ends segments where sentences end. To be called directly after Start().
  void set_by_sentences() { by_sentences_ = true; }

  // The point after a segment that the session has completed.
  ResumePoint AfterSegment(const SegmentCompleted& completed);
  // The point after `samples` more samples of audio, if one is due. `segmenter` has found their
  // segments. Without such points a client would keep hours of source: those of quiet, or of noise
  // in a segment whose translation ended after its first minute.
  std::optional<ResumePoint> AfterAudio(const PauseSegmenter& segmenter, int64_t samples);

  // Remembers a point as the latest one. False: a later one is known, and stays.
  bool Record(const ResumePoint& point);
  ResumePoint latest() const;

 private:
  bool by_pauses_ = false;
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
    bool of_sentence = false;  // The server has found it in the text.
  };
  std::deque<End> ends_ ABSL_GUARDED_BY(mutex_);
  int64_t first_end_ ABSL_GUARDED_BY(mutex_) = 1;
  SourcePosition sentence_ ABSL_GUARDED_BY(mutex_);  // The beginning of the first one's sentence.
  ResumePoint latest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_RESUME_POINTS_H_
