#include "client/event_queue.h"

#include <poll.h>

#include <string>
#include <variant>

#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

bool IsReadable(int fd) {
  pollfd polled = {fd, POLLIN, 0};
  return poll(&polled, 1, 0) == 1;
}

Event Text(const std::string& text) {
  Delta delta;
  delta.text = text;
  return delta;
}

TEST(EventQueueTest, GivesEventsInTheirOrder) {
  EventQueue queue;
  EXPECT_TRUE(queue.empty());
  queue.Push(Text("a"));
  queue.Push(Text("b"));
  EXPECT_EQ(std::get<Delta>(*queue.Pop()).text, "a");
  EXPECT_EQ(std::get<Delta>(*queue.Pop()).text, "b");
  EXPECT_FALSE(queue.Pop().has_value());
}

TEST(EventQueueTest, TheDescriptorIsReadableUntilAPopFindsNothing) {
  EventQueue queue;
  EXPECT_FALSE(IsReadable(queue.ready_fd()));
  queue.Push(Text("a"));
  EXPECT_TRUE(IsReadable(queue.ready_fd()));
  queue.Pop();
  EXPECT_TRUE(IsReadable(queue.ready_fd()));
  EXPECT_FALSE(queue.Pop().has_value());
  EXPECT_FALSE(IsReadable(queue.ready_fd()));
  queue.Signal();
  EXPECT_TRUE(IsReadable(queue.ready_fd()));
}

TEST(EventQueueTest, AFullQueueHasRoomAgainAtHalf) {
  EventQueue queue;
  for (size_t i = 0; i < EventQueue::kMaxEvents; ++i) {
    EXPECT_FALSE(queue.full());
    queue.Push(Text("x"));
  }
  EXPECT_TRUE(queue.full());
  size_t taken = 0;
  for (; !queue.has_room(); ++taken) queue.Pop();
  EXPECT_EQ(taken, EventQueue::kMaxEvents / 2 + 1);
}

TEST(EventQueueTest, WhatIsDiscardedDoesNotComeBack) {
  EventQueue queue;
  queue.Push(Text("a"));
  queue.Discard();
  queue.Push(Text("b"));
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(IsReadable(queue.ready_fd()));
}

}  // namespace
}  // namespace leapstream::client
