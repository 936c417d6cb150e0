// A session whose activations overflow ends alone: those of its batch go on as if it were not
// there.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "model/engine/load_model.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/one_session.h"
#include "tests/testing/random_model.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr char kHugePiece[] = "▁the";
constexpr char kBad[] = "You can only modify the printer";
constexpr char kGood[] = "You can only modify a printer";

struct Case {
  const char* name;
  bool causal;
  const char* attention;
  SessionOptions options;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  SessionOptions options;
  options.early_end = EarlyEnd::kReadOn;
  options.policy = WaitK{2};
  cases.push_back({"wait_k_leap", true, "leap", options});
  cases.push_back({"wait_k_softmax", true, "softmax", options});
  options.policy = LocalAgreement{2};
  cases.push_back({"drafts", false, "softmax", options});
  options.policy = Offline();
  options.beam = BeamOptions();
  options.beam->beam = 3;
  cases.push_back({"beam", false, "softmax", options});
  return cases;
}

TEST(OverflowTest, ASessionEndsAlone) {
  for (const Case& each : Cases()) {
    SCOPED_TRACE(each.name);
    const std::string directory = WriteRandomModel("overflow", [&](ModelConfig& config) {
      config.causal_encoder = each.causal;
      config.share_all_embeddings = false;
      for (SideConfig* side : {&config.encoder, &config.decoder}) {
        side->self_attention = side->cross_attention = each.attention;
      }
    });
    const auto sound = LoadModel(directory, LoadOptions());
    ASSERT_TRUE(sound.ok()) << sound.status();
    const TokenId huge = (*sound)->source_vocabulary.Id(kHugePiece);
    ASSERT_NE(huge, kUnknown);
    MakeTokenOverflow(directory, huge);
    const auto model = LoadModel(directory, LoadOptions());
    ASSERT_TRUE(model.ok()) << model.status();
    Scheduler scheduler(*model);
    const auto alone = Translate(scheduler, each.options, {kGood});

    const char* const texts[] = {kGood, kBad, kGood};
    std::vector<std::unique_ptr<CollectingSink>> sinks;
    std::vector<std::shared_ptr<Session>> sessions;
    for (const char* const text : texts) {
      sinks.push_back(std::make_unique<CollectingSink>());
      auto session = scheduler.Open(each.options, sinks.back().get());
      ASSERT_TRUE(session.ok()) << session.status();
      (*session)->Hold();
      (*session)->Push(text);
      (*session)->EndSource();
      sessions.push_back(*std::move(session));
    }
    for (const auto& session : sessions) session->Release();
    for (const auto& sink : sinks) sink->Wait();
    EXPECT_EQ(sinks[1]->status.code(), absl::StatusCode::kInternal) << sinks[1]->status;
    EXPECT_THAT(std::string(sinks[1]->status.message()), HasSubstr("not finite"));
    for (const size_t good : {0, 2}) {
      EXPECT_TRUE(sinks[good]->status.ok()) << sinks[good]->status;
      ASSERT_EQ(sinks[good]->segments.size(), 1u);
      EXPECT_EQ(sinks[good]->segments[0].text, alone->segments[0].text);
    }
  }
}

}  // namespace
}  // namespace leapstream
