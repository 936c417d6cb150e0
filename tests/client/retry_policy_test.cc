#include "client/retry_policy.h"

#include <algorithm>
#include <string>
#include <vector>

#include "client/wire.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::HasSubstr;

// Times are invented: seconds since some moment.
SteadyTime At(double seconds) { return SteadyTime(absl::Seconds(seconds)); }

// A status with the details that a leapstream server adds.
absl::Status FromServer(absl::Status status, const std::string& reason,
                        absl::Duration retry_delay = absl::ZeroDuration()) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("leapstream");
  status.SetPayload("type.googleapis.com/google.rpc.ErrorInfo",
                    absl::Cord(info.SerializeAsString()));
  if (retry_delay > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    const int64_t ms = absl::ToInt64Milliseconds(retry_delay);
    retry.mutable_retry_delay()->set_seconds(ms / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ms % 1000 * 1000000));
    status.SetPayload("type.googleapis.com/google.rpc.RetryInfo",
                      absl::Cord(retry.SerializeAsString()));
  }
  return status;
}

// A call to `address` that a session in the middle of a segment lost.
EndedCall Lost(const std::string& address) {
  EndedCall call;
  call.address = address;
  call.status = absl::UnavailableError("connection reset");
  call.begun = call.resumable = true;
  return call;
}

RetryPolicy Patient() { return RetryPolicy(absl::Seconds(60), SteadyTime::InfiniteFuture()); }

TEST(RetryPolicyTest, ALostCallMovesAtOnceToAServerThatHasNotFailed) {
  RetryPolicy policy = Patient();
  policy.OnStarted(At(0));
  const auto next = policy.AfterCall(Lost("a"), {"a", "b"}, At(20));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->server, 1u);
  EXPECT_EQ(next->at, At(20));
  EXPECT_TRUE(next->is_interruption);
  const RetryPolicy::Regained regained = policy.OnStarted(At(21.5));
  EXPECT_TRUE(regained.was_told);
  EXPECT_EQ(regained.gap, absl::Seconds(1.5));
}

TEST(RetryPolicyTest, TheOnlyServerIsAskedAgainAfterDelaysThatGrowToALimit) {
  RetryPolicy policy = Patient();
  policy.OnStarted(At(0));
  double longest = 0;
  for (int failure = 1; failure <= 9; ++failure) {
    const auto next = policy.AfterCall(Lost("a"), {"a"}, At(20));
    ASSERT_TRUE(next.ok()) << next.status();
    const double delay = absl::ToDoubleSeconds(next->at - At(20));
    const double expected = std::min(2.0, 0.025 * (1 << failure));  // Times 1 to 2, at random.
    EXPECT_GE(delay, expected * 0.999) << failure;
    EXPECT_LE(delay, expected * 2.001) << failure;
    longest = std::max(longest, delay);
    // The user is told once.
    EXPECT_EQ(next->is_interruption, failure == 1) << failure;
  }
  EXPECT_GE(longest, 2);
}

TEST(RetryPolicyTest, AServerIsNotAskedBeforeTheTimeThatItNamed) {
  RetryPolicy policy = Patient();
  EndedCall full = Lost("a");
  full.status =
      FromServer(absl::UnavailableError("full"), "OVERLOADED", /*retry_delay=*/absl::Seconds(7));
  const auto next = policy.AfterCall(full, {"a"}, At(1));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_GE(next->at, At(8));
  EXPECT_LE(next->at, At(15));
}

TEST(RetryPolicyTest, ARefusalOfAServerEndsTheStream) {
  RetryPolicy policy = Patient();
  EndedCall refused = Lost("a");
  refused.status = FromServer(absl::NotFoundError("no such model"), "MODEL_NOT_FOUND");
  EXPECT_EQ(policy.AfterCall(refused, {"a", "b"}, At(1)).status(), refused.status);
}

TEST(RetryPolicyTest, ASessionThatTheLostServerMayStillHoldIsNoRefusal) {
  RetryPolicy policy = Patient();
  EndedCall held = Lost("b");
  held.status = FromServer(absl::ResourceExhaustedError("quota"), "QUOTA_EXCEEDED");
  EXPECT_FALSE(RetryPolicy(absl::Seconds(60), SteadyTime::InfiniteFuture())
                   .AfterCall(held, {"a", "b"}, At(1))
                   .ok());
  ASSERT_TRUE(policy.AfterCall(Lost("a"), {"a", "b"}, At(1)).ok());
  EXPECT_TRUE(policy.AfterCall(held, {"a", "b"}, At(2)).ok());
  policy.OnStarted(At(3));  // The session has a place now.
  EXPECT_FALSE(policy.AfterCall(held, {"a", "b"}, At(4)).ok());
}

TEST(RetryPolicyTest, AQuotaIsWaitedForIfThatIsNotTooLong) {
  const auto used_up = [](absl::Duration delay) {
    EndedCall call = Lost("a");
    call.progressed = true;
    call.status = FromServer(absl::ResourceExhaustedError("quota"), "QUOTA_EXCEEDED", delay);
    return call;
  };
  RetryPolicy policy = Patient();
  policy.OnStarted(At(0));
  const auto next = policy.AfterCall(used_up(absl::Seconds(50)), {"a"}, At(20));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_GE(next->at, At(70));
  EXPECT_LE(next->at, At(72)) << "nobody else comes back at that time";
  EXPECT_TRUE(next->is_interruption);
  policy.OnStarted(At(72));
  const absl::Status too_long =
      policy.AfterCall(used_up(absl::Hours(5)), {"a"}, At(80)).status();
  EXPECT_EQ(too_long.message(), "quota") << "nobody has waited, so nothing is said of it";
  EXPECT_FALSE(RetryPolicy(absl::ZeroDuration(), SteadyTime::InfiniteFuture())
                   .AfterCall(used_up(absl::Seconds(1)), {"a"}, At(0))
                   .ok());
  // Another server has a quota of its own.
  const auto other = Patient().AfterCall(used_up(absl::Hours(5)), {"a", "b"}, At(80));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->server, 1u);
}

TEST(RetryPolicyTest, AMinutesQuotaIsAlwaysWaitedFor) {
  EndedCall call = Lost("a");
  call.progressed = true;
  for (int i = 0; i < 50; ++i) {  // The time that is added is random, and always more than 50 ms.
    call.status = FromServer(absl::ResourceExhaustedError("quota"), "QUOTA_EXCEEDED",
                             absl::Milliseconds(59950));
    const auto next = Patient().AfterCall(call, {"a"}, At(20));
    ASSERT_TRUE(next.ok()) << next.status();
    EXPECT_GE(next->at, At(80));
  }
  call.status =
      FromServer(absl::ResourceExhaustedError("quota"), "QUOTA_EXCEEDED", absl::Seconds(60));
  EXPECT_FALSE(Patient().AfterCall(call, {"a"}, At(20)).ok());
}

TEST(RetryPolicyTest, WhatCannotBeResumedEndsWithItsError) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  call.resumable = false;
  EXPECT_EQ(policy.AfterCall(call, {"a", "b"}, At(1)).status(), call.status);
}

TEST(RetryPolicyTest, WithoutPatienceEachServerIsAskedOnce) {
  RetryPolicy policy(absl::ZeroDuration(), SteadyTime::InfiniteFuture());
  EndedCall call = Lost("a");
  call.begun = false;
  const auto next = policy.AfterCall(call, {"a", "b"}, At(1));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->server, 1u);
  EXPECT_FALSE(next->is_interruption);  // Nothing has begun.
  call.address = "b";
  EXPECT_EQ(policy.AfterCall(call, {"a", "b"}, At(1)).status(), call.status);
  EndedCall begun = Lost("a");
  EXPECT_FALSE(RetryPolicy(absl::ZeroDuration(), SteadyTime::InfiniteFuture())
                   .AfterCall(begun, {"a", "b"}, At(1))
                   .ok());
}

TEST(RetryPolicyTest, FiveCallsThatBreakAtOnceAreEnough) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  for (int i = 1; i <= 5; ++i) {
    policy.OnStarted(At(i));
    call.started = At(i);
    const auto next = policy.AfterCall(call, {"a", "b", "c"}, At(i + 0.1));
    EXPECT_EQ(next.ok(), i < 5) << i;
    if (i == 5) {
      EXPECT_THAT(std::string(next.status().message()),
                  HasSubstr("5 calls in a row broke at once: connection reset"));
    }
  }
}

TEST(RetryPolicyTest, CallsOfUseBetweenThemStartTheCountAnew) {
  RetryPolicy policy = Patient();
  for (int i = 1; i <= 30; ++i) {
    EndedCall call = Lost("a");
    policy.OnStarted(At(i));
    call.started = At(i);
    call.progressed = i % 4 == 0;
    EXPECT_TRUE(policy.AfterCall(call, {"a", "b"}, At(i + 0.1)).ok()) << i;
  }
}

TEST(RetryPolicyTest, AnnouncedMovesAreNoInterruptionsAndMayBeMore) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  call.going_away = true;
  for (int i = 1; i <= 8; ++i) {
    policy.OnStarted(At(i));
    call.started = At(i);
    const auto next = policy.AfterCall(call, {"a", "b"}, At(i + 0.1));
    EXPECT_EQ(next.ok(), i < 8) << i;
    if (i == 1) EXPECT_FALSE(next->is_interruption);
    if (i == 8) {
      EXPECT_THAT(std::string(next.status().message()),
                  HasSubstr("8 calls in a row were ended at once by servers that go away"));
    }
  }
}

TEST(RetryPolicyTest, BehindTheOnlyAddressThereMayBeAnotherServer) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  call.going_away = true;
  call.started = At(1);
  policy.OnStarted(At(1));
  const auto next = policy.AfterCall(call, {"a"}, At(30));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->at, At(30));
}

TEST(RetryPolicyTest, PatienceEnds) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  ASSERT_TRUE(policy.AfterCall(call, {"a"}, At(0)).ok());
  ASSERT_TRUE(policy.AfterCall(call, {"a"}, At(59)).ok());
  const auto next = policy.AfterCall(call, {"a"}, At(60));
  EXPECT_THAT(std::string(next.status().message()),
              HasSubstr("no server took the stream within 1m: connection reset"));
  EXPECT_EQ(next.status().code(), absl::StatusCode::kUnavailable);
}

TEST(RetryPolicyTest, OurOwnDeadlineIsNotTriedAgainButAProxysIs) {
  EndedCall call = Lost("a");
  call.status = absl::DeadlineExceededError("late");
  EXPECT_FALSE(RetryPolicy(absl::Seconds(60), At(10)).AfterCall(call, {"a"}, At(9.95)).ok());
  EXPECT_TRUE(RetryPolicy(absl::Seconds(60), At(10)).AfterCall(call, {"a"}, At(5)).ok());
}

TEST(RetryPolicyTest, AGatewaysLastingAnswerIsNotAskedForTwice) {
  RetryPolicy policy = Patient();
  EndedCall call = Lost("a");
  call.begun = false;
  call.status = absl::UnauthenticatedError("log in first");
  EXPECT_EQ(policy.AfterCall(call, {"a"}, At(1)).status(), call.status);
  RetryPolicy begun = Patient();
  call.begun = true;  // The session is known to exist, so that this may pass.
  for (int i = 1; i <= 10; ++i) {
    const auto next = begun.AfterCall(call, {"a"}, At(1));
    EXPECT_EQ(next.ok(), i < 10) << i;
    if (i == 10) {
      EXPECT_THAT(std::string(next.status().message()),
                  HasSubstr("10 calls in a row were not answered by a leapstream server"));
    }
  }
}

TEST(RetryPolicyTest, AnyServerThatMayBeCalledNowIsPicked) {
  std::vector<int> picked(4, 0);
  for (int i = 0; i < 400; ++i) {
    RetryPolicy policy = Patient();
    ++picked[policy.Best({"a", "b", "c", "d"}, "a", At(1)).server];
  }
  EXPECT_EQ(picked[0], 0);  // The last one, though there are others.
  for (int i = 1; i < 4; ++i) EXPECT_GT(picked[i], 40) << i;
  EXPECT_EQ(Patient().Best({"a"}, "a", At(1)).server, 0u);
}

}  // namespace
}  // namespace leapstream::client
