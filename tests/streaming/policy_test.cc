#include "streaming/policy.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

// Wait-k with a source of `length` tokens: never early, never stuck, never a READ past the end.
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
  WaitK policy;
  policy.offline = true;
  EXPECT_EQ(Action::kRead, policy.Decide({1000, 0, false}));
  EXPECT_EQ(Action::kWrite, policy.Decide({1000, 0, true}));
}

TEST(WaitKTest, HugeKDoesNotOverflow) {
  const WaitK policy{2147483647};
  EXPECT_EQ(Action::kRead, policy.Decide({5, 2147483647, false}));
}

}  // namespace
}  // namespace leapstream
