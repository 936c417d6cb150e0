#include "server/accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/admission.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kNever = absl::InfiniteDuration();

SteadyTime At(double seconds) { return SteadyTime(absl::Seconds(seconds)); }
Amount Characters(int64_t characters) { return {characters, absl::ZeroDuration()}; }
Amount Audio(absl::Duration audio) { return {0, audio}; }

// The retry delay that a client gets; kNever: there is none.
absl::Duration DelayOf(const absl::Status& status) {
  const auto delay = status.GetPayload("leapstream/retry_ms");
  int64_t ms = 0;
  return delay.has_value() && absl::SimpleAtoi(std::string(*delay), &ms) ? absl::Milliseconds(ms)
                                                                         : kNever;
}

class AccountsTest : public testing::Test {
 protected:
  void SetQuotas(int64_t per_minute, int64_t per_day) {
    CharacterQuotas quotas;
    quotas.per_minute = per_minute;
    quotas.per_day = per_day;
    accounts_ = std::make_unique<Accounts>(quotas, &metrics_);
  }
  void ExpectExceeded(const absl::Status& status, absl::Duration delay,
                      const std::string& message) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(ReasonOf(status), "QUOTA_EXCEEDED");
    EXPECT_EQ(DelayOf(status), delay) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  // The sum of the counter over all labels, and the principals that it has.
  double Sum(const std::string& name, std::set<std::string>* principals = nullptr) const {
    double sum = 0;
    for (const prometheus::MetricFamily& family : metrics_.registry().Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        sum += metric.counter.value;
        for (const auto& label : metric.label) {
          if (principals != nullptr && label.name == "principal") principals->insert(label.value);
        }
      }
    }
    return sum;
  }

  Metrics metrics_;
  std::unique_ptr<Accounts> accounts_;
};

TEST_F(AccountsTest, AQuotaIsThereAgainWhenItsWindowIsOver) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  EXPECT_TRUE(alice->Available(At(0)).ok());
  EXPECT_TRUE(alice->Take(Characters(60), At(10)).ok()) << "the window begins with the first use";
  EXPECT_TRUE(alice->Take(Characters(40), At(30)).ok());
  ExpectExceeded(alice->Available(At(30.5)), absl::Seconds(39.5),
                 "you may use 100 characters a minute (max_characters_per_minute) and have used "
                 "100; go on in 40s");
  ExpectExceeded(alice->Take(Characters(1), At(69)), absl::Seconds(1),
                 "and have used 100, and this needs 1 more; go on in 1s");
  EXPECT_TRUE(alice->Take(Characters(100), At(70)).ok());
  EXPECT_FALSE(alice->Take(Characters(1), At(129)).ok());
  EXPECT_TRUE(alice->Take(Characters(1), At(1000)).ok());
  EXPECT_TRUE(alice->in_window(At(1059)));
  EXPECT_FALSE(alice->in_window(At(1060)));
}

TEST_F(AccountsTest, RefusedCharactersAreNotUsed) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  EXPECT_TRUE(alice->Take(Characters(90), At(0)).ok());
  EXPECT_FALSE(alice->Take(Characters(11), At(1)).ok());
  EXPECT_TRUE(alice->Take(Characters(10), At(2)).ok());
  EXPECT_TRUE(alice->Take(Characters(0), At(3)).ok());
}

TEST_F(AccountsTest, WhatIsMoreThanTheQuotaCanNeverBeTaken) {
  SetQuotas(100, 50);
  ExpectExceeded(accounts_->Of("alice")->Take(Characters(101), At(0)), kNever,
                 "you may use 100 characters a minute (max_characters_per_minute), and this needs "
                 "101 at once; send less at once");
  ExpectExceeded(accounts_->Of("alice")->Take(Characters(51), At(0)), kNever,
                 "50 characters a day");
}

TEST_F(AccountsTest, OfTwoQuotasTheLongerWaitIsSaid) {
  SetQuotas(100, 150);
  const auto alice = accounts_->Of("alice");
  EXPECT_TRUE(alice->Take(Characters(100), At(0)).ok());
  ExpectExceeded(alice->Take(Characters(1), At(1)), absl::Seconds(59), "a minute");
  ExpectExceeded(alice->Take(Characters(60), At(1)), absl::Hours(24) - absl::Seconds(1), "a day");
  EXPECT_TRUE(alice->Take(Characters(50), At(61)).ok());
  ExpectExceeded(alice->Available(At(62)), absl::Hours(24) - absl::Seconds(62),
                 "(max_characters_per_day) and have used 150; go on in 23h58m58s");
  EXPECT_TRUE(alice->Take(Characters(100), At(24 * 3600)).ok());
}

TEST_F(AccountsTest, TextThatIsThereIsTakenAndThenNothing) {
  SetQuotas(10, 0);
  const auto alice = accounts_->Of("alice");
  EXPECT_TRUE(alice->TakeAll(Characters(9), At(0)).ok());
  ExpectExceeded(alice->TakeAll(Characters(3), At(1)), absl::Seconds(59), "have used 12");
  EXPECT_FALSE(alice->Available(At(2)).ok());
}

TEST_F(AccountsTest, AudioCountsAsWhatIsSpokenInIt) {
  SetQuotas(30, 0);
  const auto alice = accounts_->Of("alice");
  for (int i = 0; i < 100; ++i) {  // Two seconds.
    ASSERT_TRUE(alice->Take(Audio(absl::Milliseconds(20)), At(i * 0.02)).ok());
  }
  ExpectExceeded(alice->Take(Audio(absl::Milliseconds(1)), At(2)), absl::Seconds(58),
                 "needs 1 more; go on in 58s; a second of audio counts as 15");
}

TEST_F(AccountsTest, PrincipalsHaveQuotasOfTheirOwnAndAnybodyHasNone) {
  SetQuotas(10, 0);
  EXPECT_TRUE(accounts_->Of("alice")->Take(Characters(10), At(0)).ok());
  EXPECT_FALSE(accounts_->Of("alice")->Take(Characters(1), At(0)).ok());
  EXPECT_TRUE(accounts_->Of("bob")->Take(Characters(10), At(0)).ok());
  EXPECT_TRUE(accounts_->Of("")->Take(Characters(1000), At(0)).ok());
}

TEST_F(AccountsTest, CharactersAreCodePointsOfAllForms) {
  const auto vocabulary = Vocabulary::Parse("▁für 1\nab 1\n", "dict");
  ASSERT_TRUE(vocabulary.ok());
  const auto characters = [&](SourceInput source) {
    return AmountOf(source, 16000, *vocabulary).characters;
  };
  EXPECT_EQ(CharactersIn("für 今天 \n"), 8);
  EXPECT_EQ(characters(std::string("für ")), 4);
  EXPECT_EQ(characters(std::vector<std::string>{"▁für", "ab"}), 6);
  EXPECT_EQ(characters(std::vector<std::string>{"", "ab", ""}), 4) << "a piece counts as one";
  EXPECT_EQ(characters(std::vector<TokenId>{4, 5, -7, 1 << 30}), 8) << "unknown ones count as one";
  EXPECT_EQ(AmountOf(AudioSamples(4000), 16000, *vocabulary).audio, absl::Milliseconds(250));
}

TEST_F(AccountsTest, ARefusalSaysWhatIsLeftOfTheWaitWhenItIsSent) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  EXPECT_TRUE(alice->Take(Characters(100), At(0)).ok());
  const absl::Status refused = alice->Take(Characters(1), At(1));
  const auto said_at = [&](double seconds) {
    google::rpc::Status details;
    google::rpc::RetryInfo retry;
    EXPECT_TRUE(details.ParseFromString(ToGrpcStatus(refused, At(seconds)).error_details()));
    EXPECT_TRUE(details.details_size() >= 2 && details.details(1).UnpackTo(&retry));
    return absl::Seconds(retry.retry_delay().seconds()) +
           absl::Nanoseconds(retry.retry_delay().nanos());
  };
  EXPECT_EQ(said_at(1), absl::Seconds(59));
  EXPECT_EQ(said_at(41.5), absl::Milliseconds(18500)) << "the translation took time";
  EXPECT_EQ(said_at(90), absl::Milliseconds(1)) << "it is a pause, though it is over";
}

TEST_F(AccountsTest, AChunkThatComesAgainCountsOnce) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  const auto source = accounts_->SourceOf("session");
  const auto take = [&](int64_t before, int64_t characters, uint64_t fingerprint = 7) {
    const auto taken =
        source->Take({before, fingerprint}, Characters(characters), At(1), alice.get());
    return !taken.ok() ? std::string(absl::StatusCodeToString(taken.status().code()))
                       : std::string(*taken ? "taken" : "again");
  };
  EXPECT_EQ(take(0, 40), "taken");
  EXPECT_EQ(take(1, 40), "taken");
  EXPECT_EQ(take(1, 40), "again");
  EXPECT_EQ(take(2, 30), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(take(2, 10), "taken") << "a refused chunk has not come";
  for (int resumes = 0; resumes < 3; ++resumes) {
    EXPECT_EQ(take(0, 40), "again");
    EXPECT_EQ(take(1, 40), "again");
    EXPECT_EQ(take(2, 10), "again");
  }
  EXPECT_EQ(take(1, 10, /*fingerprint=*/8), "taken") << "it is another text";
  EXPECT_EQ(take(1, 40), "RESOURCE_EXHAUSTED") << "the chunk in its place is known";
  // The next stream of the session finds the same.
  EXPECT_EQ(accounts_->SourceOf("session"), source);
  accounts_->Forget("session");
  EXPECT_NE(accounts_->SourceOf("session"), source);
  accounts_->Forget("unknown");
}

TEST_F(AccountsTest, ASegmentOfFourQuotasNeedsFourWindows) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  const auto source = accounts_->SourceOf("session");
  int64_t come = 0;
  for (int window = 0; window < 4; ++window) {  // Each stream begins the segment again.
    for (int64_t i = 0;; ++i) {
      const auto taken = source->Take({i, static_cast<uint64_t>(i)}, Characters(10),
                                      At(100 * window), alice.get());
      if (!taken.ok()) break;
      EXPECT_EQ(*taken, i >= come) << window << " " << i;
      come = std::max(come, i + 1);
    }
    EXPECT_EQ(come, 10 * (window + 1));
  }
}

TEST_F(AccountsTest, ChunksThatAnotherServerCountedMayBeBetween) {
  SetQuotas(0, 0);
  const auto alice = accounts_->Of("alice");
  const auto source = accounts_->SourceOf("session");
  const auto counts = [&](int64_t before) {
    return source->Take({before, 7}, Characters(1), At(1), alice.get()).value_or(false);
  };
  for (const int64_t before : {3, 4, 9, 10}) EXPECT_TRUE(counts(before)) << before;
  for (const int64_t before : {9, 10}) EXPECT_FALSE(counts(before)) << before;
  EXPECT_TRUE(counts(3)) << "it is older than those that are kept";
  EXPECT_FALSE(counts(10));
}

TEST_F(AccountsTest, TheNewestChunksAreKnown) {
  SetQuotas(0, 0);
  const auto alice = accounts_->Of("alice");
  const auto counts = [&](CountedSource* source, int64_t before) {
    return source->Take({before, 7}, Characters(1), At(1), alice.get()).value_or(false);
  };
  constexpr int64_t kMost = CountedSource::kMostChunks, kShare = CountedSource::kShareOfChunks;
  std::vector<std::shared_ptr<CountedSource>> sources;
  for (size_t known = 0; known < CountedSource::kMostChunksOfAll; known += kMost) {
    sources.push_back(accounts_->SourceOf(absl::StrCat(known)));
    for (int64_t i = 0; i <= kMost; ++i) counts(sources.back().get(), i);
    EXPECT_FALSE(counts(sources.back().get(), 1));
    EXPECT_TRUE(counts(sources.back().get(), 0));
  }
  // All streams together have as many as they may, and one more has its share.
  const auto late = accounts_->SourceOf("late");
  for (int64_t i = 0; i <= kShare; ++i) counts(late.get(), i);
  EXPECT_FALSE(counts(late.get(), 1));
  EXPECT_TRUE(counts(late.get(), 0));
  // A stream that is forgotten makes room.
  accounts_->Forget("0");
  sources.erase(sources.begin());
  counts(late.get(), kShare + 1);
  EXPECT_FALSE(counts(late.get(), 1));
}

TEST_F(AccountsTest, SourcesInUseAndThoseThatWereUsedLastAreKept) {
  SetQuotas(0, 0);
  const auto alice = accounts_->Of("alice");
  const auto runs = accounts_->SourceOf("runs");
  const auto is_known = [&](const std::string& session) {
    return !accounts_->SourceOf(session)
                ->Take({0, 7}, Characters(1), At(1), alice.get())
                .value_or(true);
  };
  EXPECT_FALSE(is_known("oldest"));
  EXPECT_FALSE(is_known("used"));
  for (size_t i = 3; i < budget::kCountedStreams; ++i) accounts_->SourceOf(absl::StrCat(i));
  EXPECT_TRUE(is_known("used"));
  accounts_->SourceOf("new");
  accounts_->SourceOf("newer");
  EXPECT_EQ(accounts_->SourceOf("runs"), runs);
  EXPECT_TRUE(is_known("used"));
  EXPECT_FALSE(is_known("oldest"));
}

TEST_F(AccountsTest, ThereAreOnlySoManyPrincipalsInMetricsAndNothingIsLost) {
  SetQuotas(0, 0);
  const std::string name = "leapstream_usage_source_characters_total";
  std::set<std::string> principals;
  for (int i = 0; i < 600; ++i) {
    CallUsage usage(accounts_->Of(absl::StrCat("principal-", i)));
    EXPECT_TRUE(usage.TakeSource(Characters(i)).ok());
    EXPECT_EQ(usage.source_characters(), i);
  }
  EXPECT_EQ(Sum(name, &principals), 600 * 599 / 2);
  EXPECT_EQ(principals.size(), budget::kPrincipalsInMetrics);
  EXPECT_EQ(principals.count("other"), 1u);
  EXPECT_EQ(principals.count("anonymous"), 1u);
  EXPECT_EQ(principals.count("principal-0"), 1u);
}

TEST_F(AccountsTest, ALabelIsPlainText) {
  SetQuotas(0, 0);
  accounts_->Of("a\xff\n");
  std::set<std::string> principals;
  Sum("leapstream_usage_source_characters_total", &principals);
  EXPECT_EQ(principals.count("a\\xff\\n"), 1u);
}

TEST_F(AccountsTest, AccountsInUseAreKeptAndTheRestShareOne) {
  SetQuotas(10, 0);
  std::vector<std::shared_ptr<Account>> used;
  for (size_t i = 0; i < budget::kAccounts; ++i) used.push_back(accounts_->Of(absl::StrCat(i)));
  const auto other = accounts_->Of("one more");
  EXPECT_EQ(accounts_->Of("and one more"), other);
  EXPECT_EQ(accounts_->Of("7"), used[7]);
  // An account that nobody uses makes room, unless one of its windows is open.
  const auto now = SteadyNow();
  EXPECT_TRUE(used[8]->Take(Characters(10), now).ok());
  used.clear();
  EXPECT_NE(accounts_->Of("one more"), other);
  EXPECT_FALSE(accounts_->Of("8")->Take(Characters(1), now).ok());
}

TEST_F(AccountsTest, APrincipalWithoutCharactersIsNotLetIn) {
  class Call : public LiveCall {
    CallDescription Describe() const override { return {}; }
    const std::string& token_entry() const override { return token_entry_; }
    void Drain(SteadyTime /*deadline*/) override {}
    void End(absl::Status /*why*/) override {}
    const std::string token_entry_;
  };
  SetQuotas(10, 0);
  Admission admission(/*max_sessions=*/3, /*max_per_principal=*/0, accounts_.get());
  const auto first = std::make_shared<Call>(), second = std::make_shared<Call>();
  EXPECT_TRUE(accounts_->Of("alice")->Take(Characters(10), SteadyNow()).ok());
  const absl::Status refused = admission.Admit(first, "alice");
  EXPECT_EQ(ReasonOf(refused), "QUOTA_EXCEEDED");
  EXPECT_GT(DelayOf(refused), absl::Seconds(10));
  EXPECT_EQ(admission.taken(), 0);
  EXPECT_TRUE(admission.Admit(first, "alice", /*may_resume=*/true).ok());
  EXPECT_TRUE(admission.Admit(second, "bob").ok());
  for (const auto& call : {first, second}) admission.Remove(call.get());
}

}  // namespace
}  // namespace leapstream
