#include "server/rpc/resume_points.h"

namespace leapstream {

void ResumePoints::Start(const ResumePoint& start, Source source, int64_t samples_per_point) {
  source_ = source;
  samples_per_point_ = samples_per_point;
  MutexLock lock(&mutex_);
  chunks_ = start.source.chunks;
  first_end_ = start.segment;
  sentence_ = start.source;
}

int64_t ResumePoints::chunks() const {
  MutexLock lock(&mutex_);
  return chunks_;
}

void ResumePoints::TakeChunk() {
  MutexLock lock(&mutex_);
  ++chunks_;
}

void ResumePoints::EndSegmentAt(SourcePosition end, bool continues) {
  MutexLock lock(&mutex_);
  ends_.push_back({end, continues});
}

ResumePoint ResumePoints::AfterSegment(const SegmentCompleted& completed) {
  MutexLock lock(&mutex_);
  ResumePoint point;
  if (source_ != Source::kText) point = latest_;
  while (!ends_.empty() && first_end_ < completed.segment) {
    // AfterAudio() may have given a point in the quiet after this end. Such a point is further on.
    sentence_ = ends_.front().at;
    if (point.source < sentence_) {
      point.source = sentence_;
      point.skipped = 0;
    }
    if (first_end_ != early_ || ends_.front().continues) ends_.pop_front();
    ++first_end_;
  }
  point.in_text = completed.continues_in_text;
  if (completed.continues_at.has_value()) {
    point.source = by_sentences_ ? sentence_ : *completed.continues_at;
    if (by_sentences_) point.begin = completed.continues_at;
    point.continues = true;
    point.skipped = completed.continues_after_tokens;
    first_end_ = completed.segment + 1;  // Its end becomes the end of the next segment.
  } else if (!ends_.empty()) {
    point.source = ends_.front().at;
    point.continues = ends_.front().continues;
    point.skipped = 0;
  } else if (source_ != Source::kText) {
    // The translation ended before its source, and only the segmenter will tell where that ends.
    ++point.skipped;
  } else {
    // The translation ended before its source: all chunks so far belong to the segment.
    point.source.chunks = chunks_;
  }
  if (source_ != Source::kText && completed.ended_early) {
    // Whether the source's end is known by now depends on time, and must not be seen.
    point.continues = source_ == Source::kAudio;
    if (point.continues) early_ = completed.segment;
  }
  if (source_ == Source::kAudio) point.in_text = point.continues;
  point.segment = completed.segment + 1;
  point.before = completed.so_far;
  return point;
}

std::optional<ResumePoint> ResumePoints::AfterAudio(const PauseSegmenter& segmenter,
                                                    int64_t samples) {
  samples_since_point_ += samples;
  MutexLock lock(&mutex_);
  const bool long_since = samples_since_point_ >= samples_per_point_;
  const int64_t next = first_end_ + static_cast<int64_t>(ends_.size());
  ResumePoint point = latest_;
  const auto restart = segmenter.restart();
  const bool all_complete = point.segment == next;
  if (!restart.has_value() || !all_complete || !(point.skipped > 0 || long_since)) {
    return std::nullopt;
  }
  if (!(point.source < *restart)) return std::nullopt;
  point.source = *restart;
  point.skipped = 0;
  samples_since_point_ = 0;
  return point;
}

bool ResumePoints::Record(const ResumePoint& point) {
  MutexLock lock(&mutex_);
  if (point.segment < latest_.segment) return false;
  if (point.segment == latest_.segment && point.source < latest_.source) return false;
  latest_ = point;
  return true;
}

ResumePoint ResumePoints::latest() const {
  MutexLock lock(&mutex_);
  return latest_;
}

}  // namespace leapstream
