#ifndef LEAPSTREAM_SERVER_RPC_OUTBOX_H_
#define LEAPSTREAM_SERVER_RPC_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "base/clock.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

namespace leapstream {

// The messages of one stream that wait to be written, and the one that is being written. Not
// thread-safe.
class Outbox {
 public:
  // `now`: nothing was written yet, and silence is counted from here.
  Outbox(int64_t max_bytes, SteadyTime now)
      : max_bytes_(max_bytes), last_written_(now), write_started_(now) {}

  // Adds a delta, to the last message if that is a delta of the same step: two read as one.
  void AddDelta(v1::TargetDelta delta);
  // Adds a delta as a message of its own.
  void AddSeparateDelta(v1::TargetDelta delta);
  void Add(v1::StreamTranslateResponse response);
  // Nothing more can be sent, or is to be: drops what waits, and what is added later.
  void Break();

  // Takes the first message out, to be written from `now` on; there must be one, and none in flight.
  v1::StreamTranslateResponse StartWrite(SteadyTime now);
  void WriteDone(SteadyTime now);

  bool empty() const { return messages_.empty(); }
  bool broken() const { return broken_; }
  bool writing() const { return writing_; }
  SteadyTime write_started() const { return write_started_; }  // Of the last write.
  SteadyTime last_written() const { return last_written_; }
  // The client leaves too much unread; there is room again when half of that is gone.
  bool full() const { return bytes_ > max_bytes_ || messages_.size() > kMaxMessages; }
  bool has_room() const {
    return bytes_ <= max_bytes_ / 2 && messages_.size() <= kMaxMessages / 2;
  }

 private:
  static constexpr size_t kMaxMessages = 1024;  // However small they are.

  const int64_t max_bytes_;
  std::deque<v1::StreamTranslateResponse> messages_;
  int64_t bytes_ = 0;   // Of messages_; of joined deltas a little too much.
  int64_t deltas_ = 0;  // The sequence number of the last one.
  bool broken_ = false;
  bool writing_ = false;
  SteadyTime last_written_, write_started_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_OUTBOX_H_
