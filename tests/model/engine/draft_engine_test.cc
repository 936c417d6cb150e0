// Sessions with drafts on the engine, each against its slow twin: the embedded model, whose past is
// frozen, and one with random weights, soft-max and a bidirectional encoder, whose past is
// refreshed, or frozen if the session asks for it.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_split.h"
#include "model/api/frame.h"
#include "model/engine/load_model.h"
#include "model/engine/transformer.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/draft_twin.h"
#include "tests/testing/one_session.h"
#include "tests/testing/random_model.h"

namespace leapstream {
namespace {

constexpr const char* kTexts[] = {
    "the committee said that it would look at the report again before the end of the year",
    "a man who was not named was taken to the hospital in the city with a broken leg",
    "we have to find out why so many people did not get the help that they asked for"};

std::unique_ptr<CollectingSink> TranslateWith(Scheduler& scheduler, const Policy& policy,
                                              const char* text, Past past = Past::kDefault) {
  SessionOptions options;
  options.policy = policy;
  options.past = past;
  // Then no token is refused because it ends the target, and steps can be counted by hand.
  options.early_end = EarlyEnd::kSuppress;
  return Translate(scheduler, options, {text});
}

// The steps of a session of each text.
int64_t ExpectEqualsTwin(const std::shared_ptr<const Model>& model, const Policy& policy,
                         Past past = Past::kDefault) {
  Scheduler scheduler(model);
  int64_t steps = 0;
  for (const char* text : kTexts) {
    const auto sink = TranslateWith(scheduler, policy, text, past);
    steps += sink->segments.at(0).stats.decoder_steps;
    if (!UsesDrafts(policy)) continue;
    const bool refreshes = model->info.bidirectional_encoder && past != Past::kFrozen;
    DraftTwin twin(*model, policy, *model->FrameOf({}), refreshes);
    EXPECT_TRUE(All(*sink) == twin.Translate(text)) << ToString(policy);
    EXPECT_EQ(sink->appended[0], sink->segments[0].text);
    EXPECT_LE(sink->segments[0].stats.decoder_steps, twin.decisions());
  }
  return steps;
}

// Counts the rows that pass the first layer of each side, whoever's they are.
struct RowCounter {
  explicit RowCounter(const Model& model) {
    auto& translator = const_cast<Translator&>(*model.translator);
    dynamic_cast<Transformer&>(translator).ObserveForTest(
        [this](absl::string_view name, const Tensor& rows) {
          if (name == "enc.0.out") cost.encoder_rows += rows.size(0);
          if (name == "dec.0.out") cost.decoder_rows += rows.size(0);
        });
  }
  StateCost cost;
};

void ExpectCountsRows(const std::string& directory, const std::vector<Policy>& policies) {
  const auto model = LoadModel(directory);
  ASSERT_TRUE(model.ok()) << model.status();
  RowCounter counter(**model);
  Scheduler scheduler(*model);
  for (const Policy& policy : policies) {
    for (const bool searches : {false, true}) {
      SessionOptions options;
      options.policy = policy;
      if (searches) options.beam = BeamOptions();
      counter.cost = StateCost();
      const auto sink = Translate(scheduler, options, {kTexts[0]});
      const SegmentStats& stats = sink->segments.at(0).stats;
      EXPECT_EQ(stats.cost.encoder_rows, counter.cost.encoder_rows) << ToString(policy);
      EXPECT_EQ(stats.cost.decoder_rows, counter.cost.decoder_rows) << ToString(policy);
      EXPECT_GT(stats.decoder_steps, 0);
      EXPECT_LE(stats.decoder_steps, stats.cost.decoder_rows);
    }
  }
}

TEST(DraftEngineTest, TheFiguresOfASegmentAreTheRowsThatTheModelComputes) {
  ExpectCountsRows(EmbeddedModel(), {WaitK{3}, AdaptiveWaitK(), Offline(), LocalAgreement(), HoldN()});
  ExpectCountsRows(WriteRandomModel("draft_engine_model"), {WaitK{3}, LocalAgreement(), HoldN(), AlignAtt()});
}

TEST(DraftEngineTest, WaitKCostsAStepForEachTokenAndARowForEachToken) {
  const auto model = LoadModel(EmbeddedModel());
  ASSERT_TRUE(model.ok()) << model.status();
  Scheduler scheduler(*model);
  for (const char* text : kTexts) {
    const auto sink = TranslateWith(scheduler, WaitK{3}, text);
    const SegmentStats& stats = sink->segments.at(0).stats;
    EXPECT_EQ(stats.cost.encoder_rows, stats.source_tokens);
    EXPECT_EQ(stats.cost.decoder_rows, stats.target_tokens + 1);  // The last one is </s>.
    EXPECT_EQ(stats.decoder_steps, stats.target_tokens + 1);
  }
}

// However much of a draft is written, a prefix is encoded once.
TEST(DraftEngineTest, ALookEncodesItsSourceOnce) {
  const auto model = LoadModel(WriteRandomModel("draft_engine_model"));
  ASSERT_TRUE(model.ok()) << model.status();
  Scheduler scheduler(*model);
  for (const Policy& policy : {Policy(LocalAgreement{2}), Policy(LocalAgreement{2, 3}),
                               Policy(HoldN{1}), Policy(AlignAtt{1})}) {
    for (const char* text : kTexts) {
      int64_t expected = 0;
      int read = 0;
      for (const absl::string_view word : absl::StrSplit(text, ' ')) {
        read += static_cast<int>((*model)->source_tokenizer->Encode(word).size());
        expected += read;
      }
      expected += read + 1;  // All of it, with its end.
      const auto sink = TranslateWith(scheduler, policy, text);
      const SegmentStats& stats = sink->segments.at(0).stats;
      ASSERT_EQ(stats.source_tokens, read + 1);
      EXPECT_EQ(stats.cost.encoder_rows, expected) << ToString(policy);
    }
  }
}

TEST(DraftEngineTest, SessionsOfTheEmbeddedModelEqualTheirTwins) {
  const auto model = LoadModel(EmbeddedModel());
  ASSERT_TRUE(model.ok()) << model.status();
  const int64_t wait_k = ExpectEqualsTwin(*model, WaitK{3});
  const int64_t agreement = ExpectEqualsTwin(*model, LocalAgreement{2});
  ExpectEqualsTwin(*model, LocalAgreement{3});
  ExpectEqualsTwin(*model, HoldN{3});
  EXPECT_LE(static_cast<double>(agreement), 1.7 * static_cast<double>(wait_k));
}

TEST(DraftEngineTest, SessionsOfABidirectionalEncoderEqualTheirTwins) {
  const auto model = LoadModel(WriteRandomModel("draft_engine_model"));
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE((*model)->info.bidirectional_encoder);
  ASSERT_TRUE((*model)->info.shows_attention);
  for (const Policy& policy : {Policy(LocalAgreement{2}), Policy(LocalAgreement{2, 3}),
                               Policy(HoldN{3}), Policy(AlignAtt{1}), Policy(AlignAtt{3})}) {
    ExpectEqualsTwin(*model, policy);
    ExpectEqualsTwin(*model, policy, Past::kFrozen);
  }
}

}  // namespace
}  // namespace leapstream
