#include "server/rpc/outbox.h"

#include <string>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

constexpr SteadyTime kStart(absl::Seconds(100));

v1::TargetDelta Delta(const std::string& text, int source_tokens_read, int64_t segment = 1) {
  v1::TargetDelta delta;
  delta.set_segment(segment);
  delta.set_text(text);
  delta.set_source_tokens_read(source_tokens_read);
  delta.add_tokens()->set_piece(text);
  return delta;
}

v1::StreamTranslateResponse Heartbeat() {
  v1::StreamTranslateResponse response;
  response.mutable_heartbeat();
  return response;
}

TEST(OutboxTest, DeltasOfOneStepAreOneMessage) {
  Outbox outbox(1 << 20, kStart);
  outbox.AddDelta(Delta("a", 3));
  outbox.AddDelta(Delta("b", 3));
  outbox.AddDelta(Delta("c", 4));
  outbox.AddDelta(Delta("d", 4, 2));
  const auto first = outbox.StartWrite(kStart);
  EXPECT_EQ(first.target().text(), "ab");
  EXPECT_EQ(first.target().tokens_size(), 2);
  EXPECT_EQ(first.target().sequence(), 1);
  outbox.WriteDone(kStart);
  const auto second = outbox.StartWrite(kStart);
  EXPECT_EQ(second.target().text(), "c");
  EXPECT_EQ(second.target().sequence(), 2);
  outbox.WriteDone(kStart);
  EXPECT_EQ(outbox.StartWrite(kStart).target().text(), "d");
  EXPECT_TRUE(outbox.empty());
}

// A client counts the tokens of its deltas to resume: text without a token stays apart.
TEST(OutboxTest, ASeparateDeltaJoinsNothing) {
  Outbox outbox(1 << 20, kStart);
  outbox.AddDelta(Delta("a", 3));
  outbox.AddSeparateDelta(Delta("b", 3));
  EXPECT_EQ(outbox.StartWrite(kStart).target().text(), "a");
  EXPECT_EQ(outbox.StartWrite(kStart).target().text(), "b");
}

TEST(OutboxTest, ADeltaJoinsNoMessageThatAnotherFollows) {
  Outbox outbox(1 << 20, kStart);
  outbox.AddDelta(Delta("a", 3));
  outbox.Add(Heartbeat());
  outbox.AddDelta(Delta("b", 3));
  EXPECT_EQ(outbox.StartWrite(kStart).target().text(), "a");
  EXPECT_TRUE(outbox.StartWrite(kStart).has_heartbeat());
  EXPECT_EQ(outbox.StartWrite(kStart).target().text(), "b");
}

TEST(OutboxTest, IsFullByBytesAndHasRoomAtHalf) {
  Outbox outbox(1000, kStart);
  int added = 0;
  for (; !outbox.full(); ++added) outbox.AddDelta(Delta(std::string(100, 'x'), added));
  EXPECT_LE(added, 10);
  EXPECT_FALSE(outbox.has_room());
  while (!outbox.has_room()) outbox.StartWrite(kStart);
  EXPECT_FALSE(outbox.empty());
  EXPECT_FALSE(outbox.full());
}

TEST(OutboxTest, IsFullByMessagesHoweverSmall) {
  Outbox outbox(1 << 30, kStart);
  for (int i = 0; i < 1024; ++i) outbox.Add(Heartbeat());
  EXPECT_FALSE(outbox.full());
  outbox.Add(Heartbeat());
  EXPECT_TRUE(outbox.full());
}

TEST(OutboxTest, ABrokenOneDropsWhatComes) {
  Outbox outbox(10, kStart);
  outbox.AddDelta(Delta("a long text, more than may be left unread", 3));
  EXPECT_TRUE(outbox.full());
  outbox.Break();
  outbox.Add(Heartbeat());
  outbox.AddDelta(Delta("b", 3));
  EXPECT_TRUE(outbox.empty());
  EXPECT_FALSE(outbox.full());
  EXPECT_TRUE(outbox.broken());
}

TEST(OutboxTest, KnowsWhenItWasSilent) {
  Outbox outbox(1000, kStart);
  EXPECT_EQ(outbox.last_written(), kStart);
  outbox.Add(Heartbeat());
  outbox.StartWrite(kStart + absl::Seconds(1));
  EXPECT_TRUE(outbox.writing());
  EXPECT_EQ(outbox.write_started(), kStart + absl::Seconds(1));
  EXPECT_EQ(outbox.last_written(), kStart);
  outbox.WriteDone(kStart + absl::Seconds(2));
  EXPECT_FALSE(outbox.writing());
  EXPECT_EQ(outbox.last_written(), kStart + absl::Seconds(2));
}

}  // namespace
}  // namespace leapstream
