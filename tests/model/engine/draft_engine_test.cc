// Sessions with drafts on the engine, each against its slow twin: the embedded model, whose past is
// frozen, and one with random weights, soft-max and a bidirectional encoder, whose past is refreshed.
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/api/frame.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/draft_twin.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTexts[] = {
    "the committee said that it would look at the report again before the end of the year",
    "a man who was not named was taken to the hospital in the city with a broken leg",
    "we have to find out why so many people did not get the help that they asked for"};

std::string Embedded() { return LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de"; }

std::string WriteRandomModel() {
  const std::string directory = absl::StrCat(testing::TempDir(), "/draft_engine_model");
  auto config = ReadModelDirectory(Embedded());
  EXPECT_TRUE(config.ok()) << config.status();
  config->causal_encoder = false;
  config->simul_type = "none";
  config->waitk_lagging = 0;
  for (SideConfig* side : {&config->encoder, &config->decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 16;
    side->ffn_embed_dim = 24;
    side->layers = 2;
    side->attention_heads = 2;
    side->self_attention = side->cross_attention = "softmax";
  }
  fs::remove_all(directory);
  fs::copy(Embedded(), directory);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(*config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    std::vector<float>& w = values[spec.name];
    for (int64_t i = 0; i < count; ++i) w.push_back(0.3f * normal(random));
    views[spec.name] = {
        TensorType::kFloat32, spec.shape,
        absl::string_view(reinterpret_cast<const char*>(w.data()), w.size() * sizeof(float))};
  }
  EXPECT_TRUE(WriteSafetensors(fs::path(directory) / kWeightsFile, views).ok());
  EXPECT_TRUE(WriteModelJson(directory, *config).ok());
  return directory;
}

struct StepCounter : StepObserver {
  void OnStep(const StepFigures& figures) override { steps += figures.sessions_deciding; }
  void OnToken(absl::Duration) override {}
  void OnFirstToken(absl::Duration) override {}
  int steps = 0;
};

// The steps of a session of each text.
int ExpectEqualsTwin(const std::shared_ptr<const Model>& model, const Policy& policy) {
  StepCounter counter;
  Scheduler scheduler(model, &counter);
  for (const char* text : kTexts) {
    SessionOptions options;
    options.policy = policy;
    CollectingSink sink;
    auto session = scheduler.Open(options, &sink);
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) return 0;
    (*session)->Push(std::string(text));
    (*session)->EndSource();
    sink.Wait();
    EXPECT_TRUE(sink.status.ok()) << sink.status;
    if (!UsesDrafts(policy)) continue;
    DraftTwin twin(*model, policy, *model->FrameOf({}), model->info.bidirectional_encoder);
    EXPECT_TRUE(All(sink) == twin.Translate(text)) << ToString(policy);
    EXPECT_EQ(sink.appended[0], sink.segments[0].text);
  }
  return counter.steps;
}

TEST(DraftEngineTest, SessionsOfTheEmbeddedModelEqualTheirTwins) {
  const auto model = LoadModel(Embedded());
  ASSERT_TRUE(model.ok()) << model.status();
  const int wait_k = ExpectEqualsTwin(*model, WaitK{3});
  const int agreement = ExpectEqualsTwin(*model, LocalAgreement{2});
  ExpectEqualsTwin(*model, LocalAgreement{3});
  ExpectEqualsTwin(*model, HoldN{3});
  RecordProperty("wait_k_steps", wait_k);
  RecordProperty("agreement_steps", agreement);
  EXPECT_LE(agreement, wait_k * 1.6) << wait_k;
}

TEST(DraftEngineTest, SessionsWithARefreshedPastEqualTheirTwins) {
  const auto model = LoadModel(WriteRandomModel());
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE((*model)->info.bidirectional_encoder);
  ASSERT_TRUE((*model)->info.shows_attention);
  for (const Policy& policy : {Policy(LocalAgreement{2}), Policy(LocalAgreement{2, 3}),
                               Policy(HoldN{3}), Policy(AlignAtt{1}), Policy(AlignAtt{3})}) {
    ExpectEqualsTwin(*model, policy);
  }
}

}  // namespace
}  // namespace leapstream
