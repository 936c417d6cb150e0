#include "streaming/inbox.h"

#include <algorithm>
#include <utility>

#include "base/budget.h"
#include "streaming/source_bytes.h"

namespace leapstream {
namespace {

// A session that has read more source tokens than this without having to wait for one has a
// backlog. Live sessions stay below: a recognised piece of a sentence brings fewer tokens.
constexpr int kLiveReads = 8;

// The bytes that a queued input counts for HasRoom().
int64_t QueuedBytes(const Input& input) {
  const auto* chunk = std::get_if<SourceChunk>(&input);
  return budget::kInputBytes + (chunk == nullptr ? 0 : SourceBytes(chunk->source));
}

}  // namespace

Inbox::Inbox(int64_t max_bytes, bool has_backlog, std::function<void(Queue)> wake)
    : max_bytes_(max_bytes),
      wake_(std::move(wake)),
      reads_without_wait_(has_backlog ? kLiveReads + 1 : 0) {}

void Inbox::Push(Input input) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  bytes_ += QueuedBytes(input);
  inputs_.push_back(std::move(input));
  Wake();
}

void Inbox::Cancel(absl::Status why) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  if (!cancelled_.has_value()) cancelled_ = std::move(why);
  Wake();
}

void Inbox::EndAfterSegment(absl::Status why) {
  MutexLock lock(&mutex_);
  if (closed_) return;
  if (!ending_.has_value()) ending_ = std::move(why);
  Wake();
}

bool Inbox::HasRoom() {
  MutexLock lock(&mutex_);
  const bool full = bytes_ >= max_bytes_ || inputs_.size() >= budget::kQueuedInputs;
  if (closed_ || !full) return true;
  room_wanted_ = true;
  return false;
}

void Inbox::Hold() {
  MutexLock lock(&mutex_);
  held_ = true;
}

void Inbox::Release() {
  MutexLock lock(&mutex_);
  if (!held_ || closed_) return;
  held_ = false;
  Wake();
}

Inbox::Turn Inbox::BeginTurn() {
  MutexLock lock(&mutex_);
  changed_ = false;
  return {queued_at_, cancelled_};
}

bool Inbox::held() const {
  MutexLock lock(&mutex_);
  return held_;
}

std::optional<absl::Status> Inbox::ending() const {
  MutexLock lock(&mutex_);
  return ending_;
}

Inbox::Popped Inbox::Pop(Segment segment, bool may_take) {
  Popped popped;
  MutexLock lock(&mutex_);
  const bool at_end = !inputs_.empty() && std::holds_alternative<SourceEnd>(inputs_.front());
  // A session whose source ends with this segment completes as if nothing had been said.
  const bool may_end = inputs_.empty() ? segment != Segment::kOpen
                                       : segment == Segment::kNone && !at_end;
  if (may_end && ending_.has_value()) {
    popped.kind = Popped::Kind::kEnding;
    popped.ending = *ending_;
    return popped;
  }
  if (inputs_.empty()) return popped;
  if (!may_take) {
    popped.kind = Popped::Kind::kRefused;
    return popped;
  }
  popped.kind = Popped::Kind::kInput;
  if (!at_end || segment == Segment::kNone) {
    popped.input = std::move(inputs_.front());
    inputs_.pop_front();
    bytes_ -= QueuedBytes(popped.input);
  }
  popped.room = room_wanted_ && bytes_ <= max_bytes_ / 2 &&
                inputs_.size() <= budget::kQueuedInputs / 2;
  if (popped.room) room_wanted_ = false;
  return popped;
}

bool Inbox::EndTurn(const TurnEnd& end) {
  MutexLock lock(&mutex_);
  if (end.acts) {
    reads_without_wait_ = std::min(reads_without_wait_ + end.reads, kLiveReads + 1);
  } else if (end.waits) {
    reads_without_wait_ = 0;
  }
  if (end.caught_up) reads_without_wait_ = 0;
  if (end.cut_short || end.searches) reads_without_wait_ = kLiveReads + 1;
  if (!end.acts && !changed_ && !end.cut_short) {
    queued_ = false;
    return false;
  }
  queued_at_ = SteadyNow();
  return true;
}

Queue Inbox::queue() const {
  MutexLock lock(&mutex_);
  return NextQueue();
}

void Inbox::Close() {
  MutexLock lock(&mutex_);
  closed_ = true;
  inputs_.clear();
  bytes_ = 0;
}

void Inbox::Wake() {
  changed_ = true;
  if (queued_) return;
  queued_ = true;
  queued_at_ = SteadyNow();
  wake_(NextQueue());
}

Queue Inbox::NextQueue() const {
  return reads_without_wait_ > kLiveReads ? Queue::kBacklog : Queue::kLive;
}

}  // namespace leapstream
