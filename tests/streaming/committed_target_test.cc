#include "streaming/committed_target.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using Step = CommittedTarget::Step;

class CommittedTargetTest : public testing::Test {
 protected:
  CommittedTarget Make(std::vector<int> source_read) {
    ResumeFrom from;
    from.committed = {5, 6};
    from.source_read = std::move(source_read);
    EXPECT_TRUE(CommittedTarget::Check(from, *model_, Frame()).ok());
    return CommittedTarget(&from, options_, *model_);
  }
  Step Next(const CommittedTarget& target, int read, bool finished = false) {
    Progress progress;
    progress.source_read = read;
    progress.source_finished = finished;
    return target.NextStep(progress, options_, model_->info);
  }

  std::shared_ptr<const Model> model_ = FakeModel();
  SessionOptions options_;  // The defaults: k = 3, READ_ON.
};

TEST_F(CommittedTargetTest, IsForcedWithoutPlaces) {
  CommittedTarget target = Make({});
  EXPECT_TRUE(target.pending());
  EXPECT_FALSE(target.replays());
  EXPECT_EQ(target.next(), 5);
  target.PopForced();
  EXPECT_EQ(target.next(), 6);
  EXPECT_TRUE(target.pending());
  target.PopForced();
  EXPECT_FALSE(target.pending());
}

TEST_F(CommittedTargetTest, IsReplayedWhereThePolicyWritesIt) {
  CommittedTarget target = Make({3, 4});
  ASSERT_TRUE(target.replays());
  EXPECT_EQ(Next(target, 0), Step::kRead);
  EXPECT_EQ(Next(target, 2), Step::kRead);
  EXPECT_EQ(Next(target, 3), Step::kReplay);
  EXPECT_EQ(Next(target, 4), Step::kImpossible) << "it was written before";
  target.PlanReplay();
  EXPECT_EQ(Next(target, 3), Step::kRead);
  EXPECT_EQ(Next(target, 4), Step::kReplay);
  target.PlanReplay();
  EXPECT_EQ(Next(target, 4), Step::kNone);
  EXPECT_THAT(target.due_tokens(), ElementsAre(5, 6));
  EXPECT_THAT(target.due_source_read(), ElementsAre(3, 4));
  target.ForgetPlan();
  EXPECT_EQ(target.due(), 0);
  target.PlanReplay();
  target.ApplyReplay();
  EXPECT_TRUE(target.pending());
  EXPECT_EQ(target.next(), 6);
}

TEST_F(CommittedTargetTest, ReadsOnOnlyWhereAnEarlyEndMadeItWait) {
  CommittedTarget target = Make({5, 6});
  EXPECT_EQ(Next(target, 3), Step::kReadOn);
  EXPECT_EQ(Next(target, 4, true), Step::kImpossible) << "the source is over";
  options_.early_end = EarlyEnd::kSuppress;
  EXPECT_EQ(Next(target, 3), Step::kImpossible);
}

TEST_F(CommittedTargetTest, RespectsTheTargetLimit) {
  options_.max_target_tokens = 1;
  CommittedTarget target = Make({3, 4});
  EXPECT_EQ(Next(target, 3), Step::kReplay);
  target.PlanReplay();
  EXPECT_EQ(Next(target, 4), Step::kImpossible);
}

TEST_F(CommittedTargetTest, IsForcedWhereItCannotBeReplayed) {
  options_.early_end = EarlyEnd::kForceFinish;
  EXPECT_FALSE(Make({3, 4}).replays());
  options_.early_end = EarlyEnd::kReadOn;
  FakeModelOptions cannot;
  cannot.can_replay = false;
  model_ = FakeModel(cannot);
  EXPECT_FALSE(Make({3, 4}).replays());
}

TEST_F(CommittedTargetTest, WhatNoModelCanHaveWrittenIsRefused) {
  const auto code = [&](ResumeFrom from) { return CommittedTarget::Check(from, *model_, Frame()).code(); };
  const auto bad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}), absl::StatusCode::kOk);
  EXPECT_EQ(code({0, {}, {}, {}}), bad);
  EXPECT_EQ(code({1, {-1}, {}, {}}), bad);
  EXPECT_EQ(code({1, {kEndOfSentence}, {}, {}}), bad);
  EXPECT_EQ(code({1, {model_->target_vocabulary.size()}, {}, {}}), bad);
  EXPECT_EQ(code({1, {5, 6}, {}, {3}}), bad);
}

TEST_F(CommittedTargetTest, RefusalsSayThatTheCommittedTargetIsTheCause) {
  CommittedTarget target = Make({3, 4});
  for (const absl::Status& status :
       {target.NoSegment(), target.TooMany(1), target.Impossible(WaitK{3}, 2)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(status.GetPayload(kCommittedTargetPayload).has_value()) << status;
  }
  target.Clear();
  EXPECT_FALSE(target.pending());
}

}  // namespace
}  // namespace leapstream
