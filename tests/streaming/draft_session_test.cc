// Sessions with a policy of drafts: local agreement, hold-n and AlignAtt.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "streaming/scheduler.h"
#include "streaming/target_units.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/draft_twin.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/one_session.h"

namespace leapstream {
namespace {

constexpr char kText[] =
    "the thin tea in the inner ear can be heard there and then an era of rain ran in the other "
    "area near a tree that the hare ate in haste at a great rate";

FakeModelOptions Vacillating(int one_in, bool bidirectional = false) {
  FakeModelOptions fake;
  fake.follows_source = one_in;
  fake.bidirectional = bidirectional;
  return fake;
}

SessionOptions Drafting(Policy policy) {
  SessionOptions options;
  options.policy = policy;
  return options;
}

std::vector<Policy> DraftPolicies() {
  return {LocalAgreement{2},     LocalAgreement{3},    LocalAgreement{2, 3}, LocalAgreement{2, -1},
          HoldN{3},              HoldN{0},             HoldN{6, 4},          AlignAtt{1},
          AlignAtt{3},           AlignAtt{2, 4}};
}

TEST(DraftSessionTest, EqualsItsSlowTwin) {
  for (const int one_in : {0, 30, 8, 4, 2}) {
    for (const bool refreshes : {false, true}) {
      const auto model = FakeModel(Vacillating(one_in, refreshes));
      Scheduler scheduler(model);
      for (const Policy& policy : DraftPolicies()) {
        const auto sink = Translate(scheduler, Drafting(policy), {kText});
        const auto expected =
            DraftTwin(*model, policy, Frame(), refreshes).Translate(kText);
        EXPECT_TRUE(All(*sink) == expected) << ToString(policy) << ", one in " << one_in;
        ASSERT_EQ(sink->segments.size(), 1u);
        EXPECT_EQ(sink->appended[0], sink->segments[0].text);  // Text is only appended.
        EXPECT_FALSE(expected.empty());
      }
    }
  }
}

TEST(DraftSessionTest, WritesBeforeItsSourceEnds) {
  Scheduler scheduler(FakeModel(Vacillating(8)));
  for (const Policy& policy : {Policy(LocalAgreement()), Policy(HoldN()), Policy(AlignAtt())}) {
    const auto sink = Translate(scheduler, Drafting(policy), {kText});
    const int source = sink->segments[0].stats.source_tokens;
    const auto early = std::count_if(
        sink->tokens.begin(), sink->tokens.end(),
        [&](const TargetToken& token) { return token.source_tokens_read < source; });
    EXPECT_GT(early * 2, static_cast<int>(sink->tokens.size())) << ToString(policy);
  }
}

std::vector<std::string> Cut(const std::string& text, size_t length) {
  std::vector<std::string> chunks;
  for (size_t i = 0; i < text.size(); i += length) chunks.push_back(text.substr(i, length));
  return chunks;
}

TEST(DraftSessionTest, AnyChunkingGivesTheSame) {
  Scheduler scheduler(FakeModel(Vacillating(6)));
  for (const Policy& policy : DraftPolicies()) {
    for (const int words : {0, 2}) {
      SessionOptions options = Drafting(policy);
      options.read_words = words;
      const auto whole = Translate(scheduler, options, {kText});
      for (const size_t length : {1, 2, 7}) {
        const auto cut = Translate(scheduler, options, Cut(kText, length));
        EXPECT_TRUE(All(*cut) == All(*whole)) << ToString(policy);
        EXPECT_EQ(cut->segments[0].text, whole->segments[0].text);
      }
    }
  }
}

TEST(DraftSessionTest, ADraftIsWholeUnits) {
  const auto model = FakeModel(Vacillating(5));
  Scheduler scheduler(model);
  const TargetUnits units(*model);
  for (const Policy& policy : {Policy(LocalAgreement{2, -1}), Policy(HoldN{2, -1})}) {
    const auto sink = Translate(scheduler, Drafting(policy), {kText});
    for (size_t i = 1; i < sink->tokens.size(); ++i) {
      if (sink->tokens[i].source_tokens_read == sink->tokens[i - 1].source_tokens_read) continue;
      std::vector<TokenId> before;
      for (size_t j = 0; j < i; ++j) before.push_back(sink->tokens[j].id);
      EXPECT_TRUE(units.EndsCharacter(before));
    }
  }
}

// The model ends a target and repeats itself at once.
TEST(DraftSessionTest, AnEndOrARepetitionEndsADraftAndNeverTheSegment) {
  FakeModelOptions fake;  // Its best token is </s> one time in eleven.
  const auto model = FakeModel(fake);
  Scheduler scheduler(model);
  for (const Policy& policy : {Policy(LocalAgreement()), Policy(HoldN())}) {
    const auto sink = Translate(scheduler, Drafting(policy), {kText});
    ASSERT_EQ(sink->segments.size(), 1u);
    EXPECT_EQ(sink->segments[0].reason, FinishReason::kEndOfSentence);
    EXPECT_EQ(sink->segments[0].untranslated_source_tokens, 0);
    EXPECT_TRUE(All(*sink) == DraftTwin(*model, policy, Frame(), false).Translate(kText));
  }
}

TEST(DraftSessionTest, NobodyStarves) {
  Scheduler scheduler(FakeModel(Vacillating(2)));
  const auto starves = Translate(scheduler, Drafting(LocalAgreement{2, -1}), {kText});
  const auto forced = Translate(scheduler, Drafting(LocalAgreement{2, 3}), {kText});
  const auto early = [](const CollectingSink& sink) {
    return std::count_if(sink.tokens.begin(), sink.tokens.end(), [&](const TargetToken& token) {
      return token.source_tokens_read < sink.segments[0].stats.source_tokens;
    });
  };
  EXPECT_GT(early(*forced), early(*starves));
}

TEST(DraftSessionTest, AResumedSessionGoesOnWhereverItBroke) {
  for (const bool known : {true, false}) {
    Scheduler scheduler(FakeModel(Vacillating(6)));
    for (const Policy& policy : DraftPolicies()) {
      const SessionOptions options = Drafting(policy);
      const auto whole = Translate(scheduler, options, {kText});
      for (size_t broke = 0; broke <= whole->tokens.size(); broke += 3) {
        ResumeFrom from;
        for (size_t i = 0; i < broke; ++i) {
          from.committed.push_back(whole->tokens[i].id);
          if (known) from.source_read.push_back(whole->tokens[i].source_tokens_read);
        }
        const auto resumed = Translate(scheduler, options, {kText}, from);
        EXPECT_EQ(resumed->segments[0].text, whole->segments[0].text)
            << ToString(policy) << " " << broke;
        const std::vector<Written> all = All(*whole);
        EXPECT_TRUE(All(*resumed) == std::vector<Written>(all.begin() + broke, all.end()));
      }
    }
  }
}

// Another machine's rounding may have drafted other tokens: what it put out stays.
TEST(DraftSessionTest, CommittedTokensThatAreNotDraftedAgainAreForced) {
  Scheduler scheduler(FakeModel(Vacillating(6)));
  for (const Policy& policy : DraftPolicies()) {
    const SessionOptions options = Drafting(policy);
    const auto whole = Translate(scheduler, options, {kText});
    ResumeFrom from;
    for (size_t i = 0; i < 9; ++i) {
      from.committed.push_back(i == 4 ? 7 : whole->tokens[i].id);
      from.source_read.push_back(whole->tokens[i].source_tokens_read);
    }
    const auto resumed = Translate(scheduler, options, {kText}, from);
    EXPECT_FALSE(resumed->tokens.empty());
    EXPECT_NE(resumed->segments[0].text, whole->segments[0].text);
  }
}

TEST(DraftSessionTest, AHundredSessionsOfAllPoliciesGiveWhatEachGivesAlone) {
  Scheduler scheduler(FakeModel(Vacillating(6)));
  std::vector<Policy> policies = DraftPolicies();
  policies.insert(policies.end(), {WaitK{2}, WaitK{3, 2}, Offline(), AdaptiveWaitK{1, 5},
                                   WaitK{2, 1, true}});
  constexpr int kSessions = 100;
  const auto text = [](int i) { return absl::StrCat(kText, std::string(1 + i % 7, 'e')); };
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  std::vector<std::shared_ptr<Session>> sessions;
  for (int i = 0; i < kSessions; ++i) {
    sinks.push_back(std::make_unique<CollectingSink>());
    SessionOptions options = Drafting(policies[i % policies.size()]);
    options.read_words = i % 3;
    auto session = scheduler.Open(options, sinks.back().get());
    ASSERT_TRUE(session.ok()) << session.status();
    (*session)->Push(text(i));
    (*session)->EndSource();
    sessions.push_back(*std::move(session));
  }
  for (int i = 0; i < kSessions; ++i) {
    sinks[i]->Wait();
    const auto alone = Translate(scheduler, sessions[i]->options(), {text(i)});
    EXPECT_TRUE(All(*sinks[i]) == All(*alone)) << ToString(sessions[i]->options().policy);
  }
}

StateCost CostOf(const CollectingSink& sink) { return sink.segments.at(0).stats.cost; }

int64_t Steps(const Policy& policy) {
  Scheduler scheduler(FakeModel(Vacillating(60)));
  return Translate(scheduler, Drafting(policy), {kText})->segments.at(0).stats.decoder_steps;
}

TEST(DraftSessionTest, LocalAgreementCostsAtMostThreeFifthsMoreStepsThanWaitK) {
  const int64_t wait_k = Steps(WaitK{3});
  EXPECT_GT(wait_k, 0);
  EXPECT_LE(static_cast<double>(Steps(LocalAgreement{2})), 1.6 * static_cast<double>(wait_k));
}

TEST(DraftSessionTest, ItsCostIsLessThanItsTwins) {
  const auto model = FakeModel(Vacillating(60));
  Scheduler scheduler(model);
  for (const Policy& policy : DraftPolicies()) {
    const auto sink = Translate(scheduler, Drafting(policy), {kText});
    DraftTwin twin(*model, policy, Frame(), false);
    twin.Translate(kText);
    EXPECT_EQ(CostOf(*sink).encoder_rows, sink->segments[0].stats.source_tokens);
    EXPECT_GT(CostOf(*sink).decoder_rows, static_cast<int64_t>(sink->tokens.size()));
    EXPECT_LE(sink->segments[0].stats.decoder_steps, twin.decisions()) << ToString(policy);
  }
}

TEST(DraftSessionTest, TheTargetsLimitHolds) {
  Scheduler scheduler(FakeModel(Vacillating(0)));
  for (const Policy& policy : DraftPolicies()) {
    SessionOptions options = Drafting(policy);
    options.max_target_tokens = 7;
    const auto sink = Translate(scheduler, options, {kText});
    EXPECT_EQ(sink->tokens.size(), 7u) << ToString(policy);
    EXPECT_EQ(sink->segments[0].reason, FinishReason::kMaxLength);
  }
}

TEST(DraftSessionTest, OptionsAreChecked) {
  FakeModelOptions fake = Vacillating(0);
  Scheduler scheduler(FakeModel(fake));
  CollectingSink sink;
  const auto code = [&](const SessionOptions& options) {
    return scheduler.Open(options, &sink).status().code();
  };
  EXPECT_EQ(code(Drafting(LocalAgreement{1})), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Drafting(HoldN{-1})), absl::StatusCode::kInvalidArgument);
  SessionOptions options = Drafting(LocalAgreement());
  options.past = Past::kRefreshed;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options.past = Past::kDefault;
  options.prefix_end = true;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options.prefix_end = false;
  options.read_tokens = options.read_words = 1;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  Scheduler blind(FakeModel());
  EXPECT_EQ(blind.Open(Drafting(AlignAtt()), &sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  fake.learned_policy = true;
  Scheduler learned(FakeModel(fake));
  EXPECT_EQ(learned.Open(Drafting(LocalAgreement()), &sink).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leapstream
