#include "server/timers.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "base/clock.h"

namespace leapstream {
namespace {

constexpr absl::Duration kGrace = LastLook::kGrace;

SteadyTime At(double seconds) { return SteadyTime(absl::Seconds(seconds)); }

TEST(SteadyTimeTest, IsAMomentThatDurationsLeadTo) {
  EXPECT_EQ(At(3) - At(1), absl::Seconds(2));
  EXPECT_EQ(At(1) + absl::Seconds(2), At(3));
  EXPECT_EQ(At(3) - absl::Seconds(2), At(1));
  EXPECT_LT(SteadyTime(), At(-1e9));
  EXPECT_EQ(SteadyTime::InfiniteFuture() - absl::Hours(1), SteadyTime::InfiniteFuture());
  EXPECT_GT(SteadyTime::InfiniteFuture(), At(1e9));
  EXPECT_EQ(SteadyTime(absl::Nanoseconds(At(7).nanoseconds())), At(7));
  const SteadyTime now = SteadyNow();
  EXPECT_LE(now, SteadyNow());
}

TEST(LastLookTest, NothingIsMissedBeforeItsDeadline) {
  LastLook look;
  EXPECT_FALSE(look.Missed(At(10), At(9), SteadyTime()));
  EXPECT_EQ(look.next(), At(10));
}

TEST(LastLookTest, TheFirstLookBeyondADeadlineAsksForASecond) {
  LastLook look;
  EXPECT_FALSE(look.Missed(At(10), At(10), SteadyTime()));
  EXPECT_EQ(look.next(), At(10) + kGrace);
  EXPECT_FALSE(look.Missed(At(10), At(10) + kGrace / 2, SteadyTime()));
  EXPECT_TRUE(look.Missed(At(10), At(10) + kGrace, SteadyTime()));
}

TEST(LastLookTest, WhatWasThereAllTheTimeMovesTheDeadline) {
  LastLook look;
  EXPECT_FALSE(look.Missed(At(10), At(60), SteadyTime()));           // The process was stopped.
  EXPECT_FALSE(look.Missed(At(70), At(60) + kGrace, SteadyTime()));  // Then the message is read.
  EXPECT_EQ(look.next(), At(70));
  EXPECT_FALSE(look.Missed(At(70), At(70), SteadyTime()));
  EXPECT_TRUE(look.Missed(At(70), At(70) + kGrace, SteadyTime()));
}

TEST(LastLookTest, WaitsAsLongAsPatienceLasts) {
  LastLook look;
  EXPECT_FALSE(look.Missed(At(10), At(60), At(110)));
  EXPECT_EQ(look.next(), At(110));
  EXPECT_FALSE(look.Missed(At(10), At(109), At(110)));
  // A thread is always a little late, and this must not delay the end for ever.
  EXPECT_TRUE(look.Missed(At(10), At(110.001), At(110.002)));
}

TEST(LastLookTest, ALateSecondLookIsNotTheLast) {
  LastLook look;
  EXPECT_FALSE(look.Missed(At(10), At(10), SteadyTime()));
  EXPECT_FALSE(look.Missed(At(10), At(100), SteadyTime()));
  EXPECT_EQ(look.next(), At(100) + kGrace);
  EXPECT_TRUE(look.Missed(At(10), At(100) + kGrace, SteadyTime()));
}

TEST(LatenessTest, IsPatientForAsLongAsTheProcessDidNotRun) {
  Lateness lateness;
  EXPECT_EQ(lateness.patience(), SteadyTime::InfinitePast());
  lateness.Woke(At(10), At(9));  // Somebody woke it early.
  EXPECT_EQ(lateness.patience(), SteadyTime::InfinitePast());
  lateness.Woke(At(10), At(70));
  EXPECT_EQ(lateness.patience(), At(130));
  lateness.Woke(At(71), At(71.5));
  EXPECT_EQ(lateness.patience(), At(130));
}

TEST(TimersTest, CallsInOrderOfTime) {
  std::promise<void> done;
  std::string called;  // Belongs to the timers' thread until `done`.
  Timers timers;
  const SteadyTime now = SteadyNow();
  timers.At(SteadyTime::InfiniteFuture(), [&] { called += "never"; });
  timers.At(now + absl::Milliseconds(20), [&] {
    called += "b";
    done.set_value();
  });
  timers.At(now + absl::Milliseconds(10), [&] { called += "a"; });
  done.get_future().wait();
  EXPECT_EQ(called, "ab");
  EXPECT_GE(SteadyNow(), now + absl::Milliseconds(20));
}

TEST(TimersTest, ATimerThatGoesLeavesNothing) {
  Timers timers;
  const SteadyTime later = SteadyNow() + absl::Hours(12);
  const auto something = std::make_shared<int>(1);
  for (int i = 0; i < 1000; ++i) {
    Timer timer(&timers);
    timer.Set(later, [something] {});
    EXPECT_EQ(timers.waiting(), 1U);
    EXPECT_EQ(something.use_count(), 2);
  }
  EXPECT_EQ(timers.waiting(), 0U);
  EXPECT_EQ(something.use_count(), 1);
}

TEST(TimersTest, ATimerHasOneTime) {
  std::promise<void> done;
  std::string called;  // Belongs to the timers' thread until `done`.
  Timers timers;
  Timer timer(&timers), cancelled(&timers), again(&timers);
  const SteadyTime now = SteadyNow();
  cancelled.Set(now + absl::Milliseconds(5), [&] { called += "cancelled"; });
  timer.Set(now + absl::Hours(1), [&] { called += "later"; });
  timer.Set(now + absl::Milliseconds(10), [&] { called += "a"; });
  EXPECT_EQ(timers.waiting(), 2U);
  cancelled.Cancel();
  cancelled.Cancel();
  again.Set(now + absl::Milliseconds(20), [&] {  // Its own function may set it, too.
    again.Set(SteadyNow() + absl::Milliseconds(1), [&] {
      called += "b";
      done.set_value();
    });
  });
  done.get_future().wait();
  EXPECT_EQ(called, "ab");
  EXPECT_EQ(timers.waiting(), 0U);
  again.Set(SteadyTime::InfiniteFuture(), [] {});
  EXPECT_EQ(timers.waiting(), 0U);
}

}  // namespace
}  // namespace leapstream
