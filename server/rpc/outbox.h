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
  // Silence is counted from `now`, when nothing has been written yet.
  Outbox(int64_t max_bytes, SteadyTime now)
      : max_bytes_(max_bytes), last_written_(now), write_started_(now) {}

  // Adds a delta. If the last message is a delta of the same step, the two become one message.
  void AddDelta(v1::TargetDelta delta);
  // Adds a delta as a message of its own.
  void AddSeparateDelta(v1::TargetDelta delta);
  void Add(v1::StreamTranslateResponse response);
  // Drops the messages that wait, and all that are added later: nothing more can or should be sent.
  void Break();

  // Takes the first message out, which is written from `now` on. There must be a message, and no
  // write in flight.
  v1::StreamTranslateResponse StartWrite(SteadyTime now);
  void WriteDone(SteadyTime now);

  bool empty() const { return messages_.empty(); }
  bool broken() const { return broken_; }
  bool writing() const { return writing_; }
  SteadyTime write_started() const { return write_started_; }  // The start of the last write.
  SteadyTime last_written() const { return last_written_; }
  // True: the client leaves too much unread. There is room again when half of that is taken.
  bool full() const { return bytes_ > max_bytes_ || messages_.size() > kMaxMessages; }
  bool has_room() const {
    return bytes_ <= max_bytes_ / 2 && messages_.size() <= kMaxMessages / 2;
  }

 private:
  static constexpr size_t kMaxMessages = 1024;  // The most messages, however small they are.

  const int64_t max_bytes_;
  std::deque<v1::StreamTranslateResponse> messages_;
  int64_t bytes_ = 0;   // The size of messages_; joined deltas count a little too much.
  int64_t deltas_ = 0;  // The sequence number of the last one.
  bool broken_ = false;
  bool writing_ = false;
  SteadyTime last_written_, write_started_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_OUTBOX_H_
