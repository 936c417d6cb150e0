#include "client/source_log.h"

#include <algorithm>
#include <utility>

namespace leapstream::client {

void SourceLog::Append(std::string text) {
  if (segments_.empty() || segments_.back().ended) segments_.emplace_back();
  Segment& segment = segments_.back();
  if (segment.dropped) return;
  unsent_bytes_ += static_cast<int64_t>(text.size());
  segment.chunks.push_back({next_sequence_++, std::move(text)});
}

void SourceLog::EndSegment() {
  if (segments_.empty() || segments_.back().ended) segments_.emplace_back();
  segments_.back().ended = true;
  if (!segments_.back().dropped) ++unsent_bytes_;
  Forget();
}

void SourceLog::Close() { closed_ = true; }

std::optional<SourceMessage> SourceLog::Next() {
  while (sending_ < segments_.size()) {
    Segment& segment = segments_[sending_];
    if (segment.sent < segment.chunks.size()) {
      SourceMessage item = segment.chunks[segment.sent];
      if (segment.complete) {
        segment.chunks.pop_front();
      } else {
        ++segment.sent;
      }
      unsent_bytes_ -= static_cast<int64_t>(item.text.size());
      return item;
    }
    if (!segment.ended) return std::nullopt;
    ++sending_;
    if (segment.dropped) continue;
    segment.end_sent = true;
    --unsent_bytes_;
    Forget();
    return SourceMessage();
  }
  return std::nullopt;
}

void SourceLog::Complete() {
  if (completed_ >= segments_.size()) return;  // The server counts wrongly.
  Segment& segment = segments_[completed_++];
  segment.complete = true;
  segment.chunks.erase(segment.chunks.begin(),
                       segment.chunks.begin() + static_cast<std::ptrdiff_t>(segment.sent));
  segment.sent = 0;
  Forget();
}

void SourceLog::ConsumeOpen(int64_t sequence) {
  if (completed_ >= segments_.size()) return;  // The server counts wrongly.
  Segment& open = segments_[completed_];
  while (open.sent > 0 && open.chunks.front().sequence <= sequence) {
    open.chunks.pop_front();
    --open.sent;
  }
}

void SourceLog::Consume(int64_t sequence) {
  while (!segments_.empty()) {
    Segment& first = segments_.front();
    while (first.sent > 0 && first.chunks.front().sequence <= sequence) {
      first.chunks.pop_front();
      --first.sent;
    }
    if (!first.chunks.empty() || !first.end_sent) return;
    segments_.pop_front();
    if (sending_ > 0) --sending_;
  }
}

int64_t SourceLog::Rewind() {
  for (size_t i = 0; i < completed_; ++i) {
    segments_[i].dropped = true;
    segments_[i].chunks.clear();
  }
  Forget();
  sending_ = 0;
  unsent_bytes_ = 0;
  int64_t first = next_sequence_;
  for (Segment& segment : segments_) {
    segment.sent = 0;
    segment.end_sent = false;
    if (segment.dropped) continue;
    if (!segment.chunks.empty()) first = std::min(first, segment.chunks.front().sequence);
    for (const SourceMessage& chunk : segment.chunks) {
      unsent_bytes_ += static_cast<int64_t>(chunk.text.size());
    }
    if (segment.ended) ++unsent_bytes_;
  }
  return first;
}

void SourceLog::Forget() {
  while (completed_ > 0 && segments_.front().ended &&
         (segments_.front().end_sent || segments_.front().dropped)) {
    segments_.pop_front();
    --completed_;
    if (sending_ > 0) --sending_;
  }
}

}  // namespace leapstream::client
