#include "streaming/inbox.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "base/budget.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using Kind = Inbox::Popped::Kind;
using Segment = Inbox::Segment;

class InboxTest : public testing::Test {
 protected:
  static Input Text(const std::string& text) { return SourceChunk{text, {}}; }
  Inbox::TurnEnd Waits() {
    Inbox::TurnEnd end;
    end.waits = true;
    return end;
  }
  Inbox::TurnEnd Acts(int reads) {
    Inbox::TurnEnd end;
    end.acts = true;
    end.reads = reads;
    return end;
  }

  std::vector<Queue> woken_;
  Inbox inbox_{1000, false, [this](Queue queue) { woken_.push_back(queue); }};
};

TEST_F(InboxTest, WakesTheLoopOnceUntilTheSessionIsOutOfTheQueue) {
  inbox_.Push(Text("a"));
  inbox_.Push(Text("b"));
  EXPECT_THAT(woken_, ElementsAre(Queue::kLive));
  inbox_.BeginTurn();
  EXPECT_FALSE(inbox_.EndTurn(Waits()));
  inbox_.Push(Text("c"));
  EXPECT_EQ(woken_.size(), 2u);
  inbox_.BeginTurn();
  inbox_.Push(Text("d"));
  EXPECT_EQ(woken_.size(), 2u);
  EXPECT_TRUE(inbox_.EndTurn(Waits())) << "what has arrived since is for the next turn";
  inbox_.BeginTurn();
  EXPECT_TRUE(inbox_.EndTurn(Acts(1)));
}

TEST_F(InboxTest, WhoReadsWithoutWaitingHasABacklogUntilItWaits) {
  inbox_.Push(Text("a"));
  EXPECT_TRUE(inbox_.EndTurn(Acts(8)));
  EXPECT_EQ(inbox_.queue(), Queue::kLive);
  EXPECT_TRUE(inbox_.EndTurn(Acts(1)));
  EXPECT_EQ(inbox_.queue(), Queue::kBacklog);
  inbox_.BeginTurn();
  inbox_.EndTurn(Inbox::TurnEnd());  // It neither acts nor waits: it is held.
  EXPECT_EQ(inbox_.queue(), Queue::kBacklog);
  inbox_.EndTurn(Waits());
  EXPECT_EQ(inbox_.queue(), Queue::kLive);
  Inbox::TurnEnd cut;
  cut.cut_short = true;
  EXPECT_TRUE(inbox_.EndTurn(cut));
  EXPECT_EQ(inbox_.queue(), Queue::kBacklog);
  Inbox resumed(1000, true, [](Queue) {});
  EXPECT_EQ(resumed.queue(), Queue::kBacklog);
}

TEST_F(InboxTest, GivesInputsInOrderAndTheSourcesEndEndsASegmentFirst) {
  inbox_.Push(Text("a"));
  inbox_.Push(SourceEnd{});
  EXPECT_EQ(inbox_.Pop(Segment::kNone, false).kind, Kind::kRefused);
  Inbox::Popped popped = inbox_.Pop(Segment::kNone, true);
  ASSERT_EQ(popped.kind, Kind::kInput);
  EXPECT_EQ(std::get<std::string>(std::get<SourceChunk>(popped.input).source), "a");
  for (int i = 0; i < 2; ++i) {
    popped = inbox_.Pop(Segment::kOpen, true);
    ASSERT_EQ(popped.kind, Kind::kInput);
    EXPECT_TRUE(std::holds_alternative<SegmentEnd>(popped.input));
  }
  popped = inbox_.Pop(Segment::kNone, true);
  EXPECT_TRUE(std::holds_alternative<SourceEnd>(popped.input));
  EXPECT_EQ(inbox_.Pop(Segment::kNone, true).kind, Kind::kNothing);
}

TEST_F(InboxTest, EndsBetweenSegmentsAndNotAtTheSourcesEnd) {
  inbox_.EndAfterSegment(absl::UnavailableError("first"));
  inbox_.EndAfterSegment(absl::AbortedError("second"));
  EXPECT_EQ(inbox_.ending()->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(inbox_.Pop(Segment::kOpen, true).kind, Kind::kNothing);
  EXPECT_EQ(inbox_.Pop(Segment::kTranslated, true).kind, Kind::kEnding);
  EXPECT_EQ(inbox_.Pop(Segment::kNone, true).kind, Kind::kEnding);
  inbox_.Push(Text("a"));
  EXPECT_EQ(inbox_.Pop(Segment::kTranslated, true).kind, Kind::kInput) << "its end may follow";
  inbox_.Push(SourceEnd{});
  EXPECT_EQ(inbox_.Pop(Segment::kNone, true).kind, Kind::kInput);
  inbox_.Push(Text("b"));
  EXPECT_EQ(inbox_.Pop(Segment::kNone, true).ending.code(), absl::StatusCode::kUnavailable);
}

TEST_F(InboxTest, SaysOnceWhenHalfOfItIsFreeAgain) {
  while (inbox_.HasRoom()) inbox_.Push(Text(std::string(100 - budget::kInputBytes, 'x')));
  int popped = 0, rooms = 0;
  for (; popped < 10; ++popped) {
    const bool room = inbox_.Pop(Segment::kOpen, true).room;
    EXPECT_TRUE(!room || popped + 1 == 5) << popped;
    rooms += room ? 1 : 0;
  }
  EXPECT_EQ(rooms, 1);
  EXPECT_TRUE(inbox_.HasRoom());
  for (size_t i = 0; i < budget::kQueuedInputs; ++i) inbox_.Push(SegmentEnd{});
  EXPECT_FALSE(inbox_.HasRoom()) << "inputs count, however small";
}

TEST_F(InboxTest, IsHeldAndCancelledWithTheFirstReason) {
  EXPECT_FALSE(inbox_.held());
  inbox_.Hold();
  EXPECT_TRUE(inbox_.held());
  EXPECT_TRUE(woken_.empty());
  inbox_.Release();
  EXPECT_FALSE(inbox_.held());
  EXPECT_EQ(woken_.size(), 1u);
  inbox_.Release();
  inbox_.Cancel(absl::AbortedError("one"));
  inbox_.Cancel(absl::CancelledError("two"));
  EXPECT_EQ(inbox_.BeginTurn().cancelled->code(), absl::StatusCode::kAborted);
}

TEST_F(InboxTest, IsDeafOnceItIsClosed) {
  inbox_.Push(Text("a"));
  inbox_.BeginTurn();
  EXPECT_TRUE(inbox_.EndTurn(Acts(1)));
  inbox_.Close();
  EXPECT_EQ(inbox_.Pop(Segment::kNone, true).kind, Kind::kNothing);
  woken_.clear();
  inbox_.Push(Text("b"));
  inbox_.Cancel(absl::AbortedError("late"));
  inbox_.EndAfterSegment(absl::AbortedError("late"));
  inbox_.Hold();
  inbox_.Release();
  EXPECT_TRUE(inbox_.HasRoom());
  EXPECT_TRUE(woken_.empty());
}

}  // namespace
}  // namespace leapstream
