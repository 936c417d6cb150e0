#ifndef LEAPSTREAM_CLIENT_EVENT_QUEUE_H_
#define LEAPSTREAM_CLIENT_EVENT_QUEUE_H_

#include <cstddef>
#include <deque>
#include <optional>

#include "client/types.h"

namespace leapstream::client {

// The events of a stream that its user has not taken, and a descriptor for poll(). Knows nothing of
// calls. Not thread-safe, but for ready_fd().
class EventQueue {
 public:
  static constexpr size_t kMaxEvents = 1024;  // With so many, the server is slowed down.

  EventQueue();
  ~EventQueue();
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  void Push(Event event);
  // The oldest event; nullopt: there is none, and ready_fd() is no longer readable.
  std::optional<Event> Pop();
  // Nobody will take events any more: drops those that are here, and all that come.
  void Discard();

  bool empty() const { return events_.empty(); }
  bool full() const { return events_.size() >= kMaxEvents; }
  // Whether enough events were taken to go on after the queue was full.
  bool has_room() const { return events_.size() < kMaxEvents / 2; }

  // Makes ready_fd() readable, which Push() and Discard() do, too.
  void Signal();
  int ready_fd() const { return ready_fd_; }  // Owned; -1: the system had none left.

 private:
  const int ready_fd_;
  std::deque<Event> events_;
  bool discard_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVENT_QUEUE_H_
