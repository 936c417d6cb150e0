#include "server/accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/budget.h"
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
  EXPECT_EQ(characters(std::vector<TokenId>{4, 5, -7, 1 << 30}), 8) << "unknown ones count as one";
  EXPECT_EQ(AmountOf(AudioSamples(4000), 16000, *vocabulary).audio, absl::Milliseconds(250));
}

TEST_F(AccountsTest, AChunkThatComesAgainCountsOnce) {
  SetQuotas(100, 0);
  const auto alice = accounts_->Of("alice");
  const auto source = accounts_->SourceOf("session");
  const auto take = [&](int64_t chunks, int64_t characters) {
    const auto taken = source->Take(chunks, Characters(characters), At(1), alice.get());
    return !taken.ok() ? std::string(absl::StatusCodeToString(taken.status().code()))
                       : std::string(*taken ? "taken" : "again");
  };
  EXPECT_EQ(take(0, 40), "taken");
  EXPECT_EQ(take(1, 50), "taken");
  EXPECT_EQ(take(1, 50), "again");
  EXPECT_EQ(take(2, 20), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(take(2, 10), "taken") << "what was refused has not come";
  EXPECT_EQ(take(0, 40), "again");
  EXPECT_EQ(take(1, 50), "RESOURCE_EXHAUSTED") << "10 have come and not come again";
  // The next stream of the session finds the same.
  EXPECT_EQ(accounts_->SourceOf("session"), source);
  accounts_->Forget("session");
  EXPECT_NE(accounts_->SourceOf("session"), source);
  accounts_->Forget("unknown");
}

TEST_F(AccountsTest, TheNewestSourcesAreKept) {
  SetQuotas(100, 0);
  const auto first = accounts_->SourceOf("0"), second = accounts_->SourceOf("1");
  for (size_t i = 2; i <= budget::kCountedStreams; ++i) accounts_->SourceOf(absl::StrCat(i));
  EXPECT_EQ(accounts_->SourceOf("1"), second);
  EXPECT_NE(accounts_->SourceOf("0"), first);
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
  EXPECT_TRUE(admission.Admit(second, "bob").ok());
  for (const auto& call : {first, second}) admission.Remove(call.get());
}

}  // namespace
}  // namespace leapstream
