#include "server/rpc/call_deadlines.h"

#include <gtest/gtest.h>
#include "base/budget.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr SteadyTime kStart(absl::Seconds(1000));
const absl::Time kToday = absl::UnixEpoch() + absl::Hours(24 * 365);

SteadyTime At(double seconds) { return kStart + absl::Seconds(seconds); }

class CallDeadlinesTest : public testing::Test {
 protected:
  CallDeadlinesTest() {
    deadlines_.set_idle_timeout(limits_.idle_timeout);
    activity_.last_received = activity_.last_sent = kStart;
  }
  void Announce() {
    activity_.awaits_config = false;
    activity_.open = true;
  }
  // Asks until `seconds`, each time when the answer before says. Returns the last answer.
  DueActions AskUntil(double seconds) {
    DueActions due;
    for (SteadyTime now = kStart; now <= At(seconds); now = due.next) {
      due = deadlines_.At(now, kToday + (now - kStart), SteadyTime::InfinitePast(), activity_);
      EXPECT_GT(due.next, now) << "it must not ask for ever";
      asked_ += 1;
      if (due.end.has_value() || due.departure.has_value() || due.cancel_call) break;
      if (due.send_heartbeat) activity_.last_sent = now;
      if (due.refresh_resume_point) {
        ++refreshed_;
        deadlines_.ResumePointSent(now, kToday + (now - kStart));
      }
    }
    return due;
  }

  SessionLimits limits_;
  CallActivity activity_;
  CallDeadlines deadlines_{limits_, absl::Hours(1), kStart};
  int asked_ = 0, refreshed_ = 0;
};

TEST_F(CallDeadlinesTest, EndsACallWithoutConfig) {
  EXPECT_EQ(deadlines_.config_deadline(), At(10));
  EXPECT_FALSE(AskUntil(9.9).end.has_value());
  const DueActions due = AskUntil(11);
  ASSERT_TRUE(due.end.has_value());
  EXPECT_EQ(ReasonOf(*due.end), "CONFIG_TIMEOUT");
}

TEST_F(CallDeadlinesTest, GivesACallWithoutAPermitLessTimeForItsConfig) {
  deadlines_.set_undecided(true);
  EXPECT_EQ(deadlines_.config_deadline(), kStart + budget::kUndecidedTime);
  limits_.config_timeout = absl::ZeroDuration();
  EXPECT_EQ(deadlines_.config_deadline(), kStart + budget::kUndecidedTime);
  deadlines_.set_undecided(false);
  EXPECT_EQ(deadlines_.config_deadline(), SteadyTime::InfiniteFuture());
}

TEST_F(CallDeadlinesTest, EndsASilentClientButNotOneThatIsNotReadOrHasEndedItsSource) {
  Announce();
  limits_.heartbeat_interval = absl::ZeroDuration();
  EXPECT_FALSE(AskUntil(299).end.has_value());
  activity_.half_closed = true;
  EXPECT_FALSE(AskUntil(3000).end.has_value());
  activity_.half_closed = false;
  activity_.waits_for_room = true;
  EXPECT_FALSE(AskUntil(3000).end.has_value());
  activity_.waits_for_room = false;
  const DueActions due = AskUntil(3000);
  ASSERT_TRUE(due.end.has_value());
  EXPECT_EQ(ReasonOf(*due.end), "IDLE_TIMEOUT");
}

// A process that did not run for ten minutes has not read the messages that came meanwhile.
TEST_F(CallDeadlinesTest, BlamesNobodyForItsOwnLateness) {
  Announce();
  const SteadyTime patience = At(1200);
  DueActions due = deadlines_.At(At(600), kToday, patience, activity_);
  EXPECT_FALSE(due.end.has_value());
  EXPECT_EQ(due.next, At(600) + limits_.heartbeat_interval);
  activity_.last_received = At(601);
  due = deadlines_.At(At(800), kToday, patience, activity_);
  EXPECT_FALSE(due.end.has_value());
}

TEST_F(CallDeadlinesTest, SendsAHeartbeatAfterEachSilence) {
  Announce();
  DueActions due = deadlines_.At(At(14), kToday, kStart, activity_);
  EXPECT_FALSE(due.send_heartbeat);
  EXPECT_EQ(due.next, At(15));
  due = deadlines_.At(At(15), kToday, kStart, activity_);
  EXPECT_TRUE(due.send_heartbeat);
  EXPECT_EQ(due.next, At(30));
  activity_.has_output = true;
  EXPECT_FALSE(deadlines_.At(At(15), kToday, kStart, activity_).send_heartbeat);
  activity_.has_output = false;
  activity_.writing = true;
  activity_.write_started = At(14);
  due = deadlines_.At(At(15), kToday, kStart, activity_);
  EXPECT_FALSE(due.send_heartbeat) << "a message is on its way";
  EXPECT_EQ(due.next, At(30));
}

TEST_F(CallDeadlinesTest, AStuckReaderLosesItsOutputAndThenItsCall) {
  Announce();
  activity_.writing = true;
  activity_.write_started = At(1);
  EXPECT_EQ(deadlines_.write_deadline(At(1)), At(31));
  DueActions due = AskUntil(40);
  ASSERT_TRUE(due.end.has_value());
  EXPECT_EQ(ReasonOf(*due.end), "READER_STUCK");
  EXPECT_TRUE(due.drop_output);
  EXPECT_FALSE(due.cancel_call);
  activity_.open = false;  // The session has ended; its status is not taken either.
  due = deadlines_.At(At(45), kToday, kStart, activity_);
  EXPECT_FALSE(due.drop_output) << "only once";
  EXPECT_FALSE(due.cancel_call);
  due = deadlines_.At(due.next, kToday, kStart, activity_);
  EXPECT_TRUE(due.cancel_call);
}

TEST_F(CallDeadlinesTest, AnnouncesTheEndOfItsTimeAndEndsThen) {
  Announce();
  limits_.max_session_duration = absl::Minutes(10);
  limits_.heartbeat_interval = limits_.idle_timeout = absl::ZeroDuration();
  deadlines_.set_idle_timeout(absl::ZeroDuration());
  EXPECT_EQ(deadlines_.first_deadline(activity_), At(570));
  DueActions due = AskUntil(700);
  ASSERT_TRUE(due.departure.has_value());
  EXPECT_EQ(due.departure->reason, v1::GOING_AWAY_REASON_MAX_DURATION);
  EXPECT_EQ(due.departure->deadline, At(600));
  ASSERT_TRUE(deadlines_.SetDeparture(*due.departure));
  EXPECT_FALSE(deadlines_.SetDeparture({v1::GOING_AWAY_REASON_DRAINING, At(580)}))
      << "the first one stays";
  due = deadlines_.At(At(590), kToday, kStart, activity_);
  EXPECT_FALSE(due.departure.has_value());
  EXPECT_EQ(due.next, At(600));
  due = deadlines_.At(At(600), kToday, kStart, activity_);
  ASSERT_TRUE(due.end.has_value());
  EXPECT_EQ(ReasonOf(*due.end), "MAX_DURATION");
  EXPECT_FALSE(deadlines_.At(At(601), kToday, kStart, activity_).end.has_value()) << "only once";
}

// While the process stood still, the client had no chance to act on the announcement.
TEST_F(CallDeadlinesTest, ADepartureThatIsSeenLateIsPutOffOnce) {
  Announce();
  limits_.heartbeat_interval = absl::ZeroDuration();
  ASSERT_TRUE(deadlines_.SetDeparture({v1::GOING_AWAY_REASON_DRAINING, At(10)}));
  activity_.last_received = At(60);
  DueActions due = deadlines_.At(At(60), kToday, At(110), activity_);
  EXPECT_FALSE(due.end.has_value());
  EXPECT_EQ(due.next, At(110));
  due = deadlines_.At(At(115), kToday, At(130), activity_);
  ASSERT_TRUE(due.end.has_value());
  EXPECT_EQ(ReasonOf(*due.end), "DRAINING");
}

TEST_F(CallDeadlinesTest, RefreshesResumePointsAtHalfTheirLife) {
  Announce();
  deadlines_.set_idle_timeout(absl::ZeroDuration());
  deadlines_.ResumePointSent(kStart, kToday);
  AskUntil(3 * 3600 + 1);
  EXPECT_EQ(refreshed_, 6);
  // Now the machine's date is set forward by an hour.
  EXPECT_TRUE(deadlines_.At(At(3 * 3600 + 2), kToday + absl::Hours(4.1), kStart, activity_)
                  .refresh_resume_point);
}

TEST_F(CallDeadlinesTest, AsksForARefreshEvenWithoutAnyOtherLimit) {
  limits_.max_session_duration = limits_.heartbeat_interval = absl::ZeroDuration();
  deadlines_.set_idle_timeout(absl::ZeroDuration());
  deadlines_.ResumePointSent(kStart, kToday);
  EXPECT_EQ(deadlines_.first_deadline(activity_), At(1800));
}

TEST_F(CallDeadlinesTest, ACallThatIsOverIsNotAskedForAnything) {
  activity_.awaits_config = false;
  const DueActions due = deadlines_.At(At(1e6), kToday, kStart, activity_);
  EXPECT_FALSE(due.end.has_value());
  EXPECT_FALSE(due.departure.has_value());
  EXPECT_FALSE(due.send_heartbeat);
  EXPECT_EQ(due.next, SteadyTime::InfiniteFuture());
}

}  // namespace
}  // namespace leapstream
