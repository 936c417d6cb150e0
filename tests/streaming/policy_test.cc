#include "streaming/policy.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

// Wait-k with a source of `length` tokens is never early, never stuck, and never READs past the
// end.
TEST(WaitKTest, IsNeverEarlyAndNeverStuck) {
  for (int k = 1; k <= 12; ++k) {
    for (int stride = 1; stride <= 3; ++stride) {
      for (int length = 1; length <= 20; ++length) {
        const WaitK policy{k, stride};
        Progress progress;
        for (int step = 0; step < 100; ++step) {
          const bool finished = progress.source_read == length;
          progress.source_finished = finished;
          const int due = std::min(k + progress.target_written / stride, length);
          if (policy.Decide(progress) == Action::kRead) {
            ASSERT_FALSE(finished);
            ASSERT_LT(progress.source_read, due) << "k " << k << " stride " << stride;
            ++progress.source_read;
          } else {
            ASSERT_GE(progress.source_read, due) << "k " << k << " stride " << stride;
            ++progress.target_written;
          }
        }
        EXPECT_EQ(length, progress.source_read);
      }
    }
  }
}

TEST(WaitKTest, OfflineReadsEverythingFirst) {
  const Offline policy;
  EXPECT_EQ(Action::kRead, policy.Decide({1000, 0, false}));
  EXPECT_EQ(Action::kWrite, policy.Decide({1000, 0, true}));
}

TEST(WaitKTest, LagsByOneMoreForEachReadOn) {
  Progress progress{3, 0, false};
  EXPECT_EQ(Action::kWrite, WaitK{3}.Decide(progress));
  progress.lag = 1;
  EXPECT_EQ(Action::kRead, WaitK{3}.Decide(progress));
}

TEST(LearnedTest, TriesAWriteAsSoonAsItCanAndReadsWhatIsWanted) {
  const Learned policy;
  EXPECT_EQ(Action::kRead, policy.Decide({0, 0, false}));
  EXPECT_EQ(Action::kWrite, policy.Decide({1, 0, false}));
  Progress progress{1, 0, false};
  progress.wanted = 2;
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
  progress.source_read = 2;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  progress.wanted = 3;
  progress.source_finished = true;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress)) << "there is no more to read";
}

TEST(PolicyTest, ModelsTakeThePoliciesThatFitThem) {
  ModelInfo wait_k, learned, trained_offline;
  wait_k.max_k = 10;
  wait_k.default_k = 4;
  learned.learned_policy = true;
  trained_offline.default_k = 0;
  EXPECT_EQ("k=4", ToString(DefaultPolicy(wait_k)));
  EXPECT_EQ("learned", ToString(DefaultPolicy(learned)));
  EXPECT_EQ("offline", ToString(DefaultPolicy(trained_offline)));
  EXPECT_TRUE(CheckFor(WaitK{10}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{11}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{0}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{1, 0}, wait_k).ok());
  EXPECT_FALSE(CheckFor(Learned(), wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{3}, learned).ok());
  EXPECT_TRUE(CheckFor(WaitK{3}, trained_offline).ok()) << "test-time wait-k";
  for (const ModelInfo* model : {&wait_k, &learned, &trained_offline}) {
    EXPECT_TRUE(CheckFor(Offline(), *model).ok());
    EXPECT_TRUE(CheckFor(DefaultPolicy(*model), *model).ok());
  }
}

TEST(WaitKTest, HugeKDoesNotOverflow) {
  const WaitK policy{2147483647};
  EXPECT_EQ(Action::kRead, policy.Decide({5, 2147483647, false}));
}

}  // namespace
}  // namespace leapstream
