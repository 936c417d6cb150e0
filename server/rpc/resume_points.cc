#include "server/rpc/resume_points.h"

#include <algorithm>

namespace leapstream {

void ResumePoints::Start(const ResumePoint& start, bool by_pauses, int64_t samples_per_point) {
  by_pauses_ = by_pauses;
  samples_per_point_ = samples_per_point;
  last_chunk_ = start.source.chunks;
  first_end_ = start.segment;
}

ResumePoint ResumePoints::AfterSegment(const SegmentCompleted& completed) {
  ResumePoint point;
  if (by_pauses_) point = latest_;
  while (!ends_.empty() && first_end_ < completed.segment) {
    // In the quiet after that segment there may have been a point that is further on.
    if (point.source < ends_.front()) {
      point.source = ends_.front();
      point.skipped = 0;
    }
    ends_.pop_front();
    ++first_end_;
  }
  if (completed.continues_at.has_value()) {
    point.source = *completed.continues_at;
    point.skipped = completed.continues_after_tokens;
    first_end_ = completed.segment + 1;  // The end that was meant for this one ends the next.
  } else if (!ends_.empty()) {
    point.source = ends_.front();
    point.skipped = 0;
  } else if (by_pauses_) {
    // The translation ended before its source, and only a pause will tell where that ends.
    ++point.skipped;
  } else {
    // The translation ended before its source: all chunks so far belong to the segment.
    point.source.chunks = last_chunk_;
  }
  point.segment = completed.segment + 1;
  point.before = completed.so_far;
  return point;
}

std::optional<ResumePoint> ResumePoints::AfterAudio(const PauseSegmenter& segmenter,
                                                    int64_t samples) {
  samples_since_point_ += samples;
  const bool long_since = samples_since_point_ >= samples_per_point_;
  const int64_t next = first_end_ + static_cast<int64_t>(ends_.size());
  ResumePoint point = latest_;
  if (const auto restart = segmenter.restart(); restart.has_value()) {
    const bool all_complete = point.segment == next;
    if (!all_complete || !(point.skipped > 0 || long_since)) return std::nullopt;
    if (!(point.source < *restart)) return std::nullopt;
    point.source = *restart;
    point.skipped = 0;
  } else {
    // The session does not count segments that are not given out.
    const int64_t open = segmenter.drops() > 0 ? next - 1 : next;
    const bool open_is_complete = point.skipped > 0 && point.segment == open + 1;
    const auto last_loud = segmenter.last_loud();
    if (!last_loud.has_value() || !open_is_complete || !long_since) return std::nullopt;
    if (!(point.source < *last_loud)) return std::nullopt;
    point.source = *last_loud;
    point.skipped = std::max(segmenter.drops(), 1);
  }
  samples_since_point_ = 0;
  return point;
}

bool ResumePoints::Record(const ResumePoint& point) {
  if (point.segment < latest_.segment) return false;
  if (point.segment == latest_.segment && point.source < latest_.source) return false;
  latest_ = point;
  return true;
}

}  // namespace leapstream
