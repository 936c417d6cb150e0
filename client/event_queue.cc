#include "client/event_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace leapstream::client {

EventQueue::EventQueue() : ready_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

EventQueue::~EventQueue() {
  if (ready_fd_ >= 0) close(ready_fd_);
}

void EventQueue::Push(Event event) {
  if (discard_) return;
  events_.push_back(std::move(event));
  Signal();
}

std::optional<Event> EventQueue::Pop() {
  if (events_.empty()) {
    uint64_t count;
    // Fails only if nothing was signalled.
    if (ready_fd_ >= 0 && read(ready_fd_, &count, sizeof(count)) < 0) return std::nullopt;
    return std::nullopt;
  }
  std::optional<Event> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void EventQueue::Discard() {
  discard_ = true;
  events_.clear();
  Signal();
}

void EventQueue::Signal() {
  const uint64_t one = 1;
  // Fails only if the counter is full, and then it is readable already.
  if (ready_fd_ >= 0 && write(ready_fd_, &one, sizeof(one)) < 0) return;
}

}  // namespace leapstream::client
