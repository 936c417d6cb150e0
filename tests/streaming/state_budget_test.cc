#include "streaming/state_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace leapstream {
namespace {

using testing::HasSubstr;

class EndedSession final : public ScheduledSession {
 public:
  void Cancel(absl::Status why) override { end = std::move(why); }
  int64_t state_bytes() const override { return 0; }
  bool ending() const override { return false; }
  Due Plan(int /*max_rows*/, int64_t /*max_work*/) override { return {}; }
  void RecordStep(absl::Duration /*compute*/, absl::Duration /*waited*/) override {}
  void Finish(absl::Status /*status*/) override {}
  bool finished() const override { return false; }
  Queue queue() const override { return Queue::kLive; }
  bool grows() const override { return true; }
  void CountState() override {}
  void FreeState() override {}

  absl::Status end;
};

struct OneSession final : public StateBudget::Holder {
  Largest LargestGrown() const override { return states; }
  Largest states;
};

class StateBudgetTest : public testing::Test {
 protected:
  StateBudgetTest() {
    budget_.Enter(&one_);
    budget_.Enter(&other_);
  }
  ~StateBudgetTest() override {
    budget_.Leave(&one_);
    budget_.Leave(&other_);
  }

  StateBudget budget_{100};
  const std::shared_ptr<EndedSession> session_ = std::make_shared<EndedSession>();
  const std::shared_ptr<EndedSession> larger_ = std::make_shared<EndedSession>();
  OneSession one_, other_;
};

TEST_F(StateBudgetTest, CountsAndHasALimit) {
  EXPECT_TRUE(budget_.HasRoomFor(100));
  EXPECT_FALSE(budget_.HasRoomFor(101));
  budget_.Add(60);
  EXPECT_EQ(budget_.used(), 60);
  EXPECT_TRUE(budget_.HasRoomFor(40));
  EXPECT_FALSE(budget_.HasRoomFor(41));
  budget_.Add(41);
  EXPECT_TRUE(budget_.exceeded());
  budget_.Add(-101);
  EXPECT_FALSE(budget_.exceeded());
  StateBudget none(0);
  none.Add(int64_t{1} << 60);
  EXPECT_FALSE(none.exceeded());
}

TEST_F(StateBudgetTest, EndsTheLargestOfAllHolders) {
  one_.states = {50, session_, 0};
  other_.states = {60, larger_, 0};
  budget_.Add(110);
  budget_.EndLargest();
  EXPECT_TRUE(session_->end.ok());
  EXPECT_EQ(larger_->end.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(larger_->end.message()), HasSubstr("this one has the most"));
}

TEST_F(StateBudgetTest, EndsNobodyWhileWhatIsEndingIsEnough) {
  one_.states = {100, session_, 0};
  other_.states = {0, nullptr, 60};  // Its session was ended, and has its state until its turn.
  budget_.Add(160);
  budget_.EndLargest();
  EXPECT_TRUE(session_->end.ok()) << "the state of the other session will be free";
  budget_.Add(1);
  one_.states.bytes = 101;
  budget_.EndLargest();
  EXPECT_FALSE(session_->end.ok()) << "that will not be enough";
}

TEST_F(StateBudgetTest, EndsNobodyWhoseStateHasNotGrown) {
  budget_.Add(200);
  budget_.EndLargest();
  one_.states = {120, session_, 0};
  budget_.Leave(&one_);
  budget_.EndLargest();
  EXPECT_TRUE(session_->end.ok()) << "its holder has left";
}

}  // namespace
}  // namespace leapstream
