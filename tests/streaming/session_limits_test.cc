#include "streaming/session_limits.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

TEST(SessionLimitsTest, TheSmallerLimitHoldsAndZeroLiftsThatOfAModel) {
  SessionOptions options;
  options.max_source_tokens = 50;
  options.max_target_tokens_cap = 70;
  ModelInfo model;
  EXPECT_EQ(SourceLimit(options, model), 50);
  EXPECT_EQ(TargetCap(options, model), 70);
  ModelInfo speech;
  speech.speech = SpeechInput();
  EXPECT_EQ(AudioLimit(options, speech), absl::Seconds(2));
  model.max_source_tokens = 40;
  model.max_target_tokens = 60;
  EXPECT_EQ(SourceLimit(options, model), 40);
  EXPECT_EQ(TargetCap(options, model), 60);
  model.max_source_tokens = model.max_target_tokens = 1000;
  EXPECT_EQ(SourceLimit(options, model), 50);
  EXPECT_EQ(TargetCap(options, model), 70);
  options.max_target_tokens_cap = 0;
  EXPECT_EQ(TargetCap(options, model), 1000);
  model.max_target_tokens = 0;
  EXPECT_EQ(TargetCap(options, model), 0);
}

TEST(SessionLimitsTest, TheTargetMayGrowWithItsSourceUpToTheCap) {
  SessionOptions options;
  options.max_length_a = 1.5;
  options.max_length_b = 10;
  ModelInfo model;
  EXPECT_EQ(TargetLimit(options, model, 0), 10);
  EXPECT_EQ(TargetLimit(options, model, 3), 14) << "rounded down";
  options.max_target_tokens_cap = 12;
  EXPECT_EQ(TargetLimit(options, model, 3), 12);
  options.max_target_tokens = 11;
  EXPECT_EQ(TargetLimit(options, model, 0), 11) << "whatever the source";
  options = {};
  options.max_length_a = 0;
  options.max_length_b = 0;
  options.max_target_tokens_cap = 5;
  EXPECT_EQ(TargetLimit(options, model, 7), 0) << "no target is a limit, too";
  options.max_target_tokens_cap = 0;
  options.max_length_a = 1 << 20;
  EXPECT_EQ(TargetLimit(options, model, std::numeric_limits<int>::max()), 1 << 20);
}

TEST(SessionLimitsTest, OptionsOutOfRangeAreRefused) {
  const ModelInfo model;
  EXPECT_TRUE(CheckOptions({}, model).ok());
  const auto code = [&](auto change) {
    SessionOptions options;
    change(options);
    return CheckOptions(options, model).code();
  };
  const auto bad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.policy = WaitK{0}; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_target_tokens = -1; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_length_b = -1; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_length_a = -0.5; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_length_a = std::nan(""); }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_length_a = 2e6; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_target_tokens_after_source = -1; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_target_tokens_cap = -1; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_queued_bytes = 0; }));
  EXPECT_EQ(bad, code([](SessionOptions& o) { o.max_source_tokens = 1; }));
}

TEST(SessionLimitsTest, AReadOfSpeechIsWholeStates) {
  FakeModelOptions fake;
  fake.speech = true;
  const auto speech = FakeModel(fake);
  SessionOptions options;
  options.policy = Offline();
  EXPECT_EQ(InputOf(options, speech->info).SamplesPerRead(),
            speech->info.speech->SamplesPerRead());
  const int state = speech->info.speech->MillisecondsPerState();
  options.read_ms = 3 * state;
  EXPECT_TRUE(CheckOptions(options, speech->info).ok());
  EXPECT_EQ(InputOf(options, speech->info).SamplesPerRead(),
            3 * speech->info.speech->SamplesPerState());
  for (const int wrong : {-1, 1, state + 1, 1000 * state + state}) {
    options.read_ms = wrong;
    EXPECT_TRUE(absl::IsInvalidArgument(CheckOptions(options, speech->info))) << wrong;
  }
  options.read_ms = 2 * state;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckOptions(options, FakeModel()->info)));
}

TEST(SessionLimitsTest, AgentsOfTextAndOfSpeechEndDifferently) {
  const AgentRules text = AgentRulesOf(*FakeModel());
  EXPECT_TRUE(text.decides_past_limit);
  EXPECT_EQ(text.end_symbol, kUnknown);
  FakeModelOptions speech;
  speech.speech = true;
  EXPECT_FALSE(AgentRulesOf(*FakeModel(speech)).decides_past_limit);
}

}  // namespace
}  // namespace leapstream
