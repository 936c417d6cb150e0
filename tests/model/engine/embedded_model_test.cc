// Compares the embedded model (float16 storage) with fairseq's results for the float32 checkpoint.
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"
#include "streaming/scheduler.h"
#include "tests/model/engine/clones.h"
#include "tests/testing/collecting_sink.h"

namespace leapstream {
namespace {

struct TypeAndLeast {
  const char* compute_type;
  int k;
  int same;  // The sentences of 100 that must equal fairseq's, token for token.
  const char* state_type = "float32";
};

class EmbeddedModelTest : public ::testing::TestWithParam<TypeAndLeast> {};

TEST_P(EmbeddedModelTest, TranslatesAsTheReferenceUpToItsRoundedWeights) {
  LoadOptions load;
  load.compute_type = GetParam().compute_type;
  load.state_type = GetParam().state_type;
  auto model = LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"), load);
  ASSERT_TRUE(model.ok()) << model.status();
  std::ifstream in(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/en-de/traces.k",
                                GetParam().k, ".stop.jsonl"));
  std::vector<nlohmann::json> traces;
  for (std::string line; std::getline(in, line);) traces.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(100u, traces.size());
  Scheduler scheduler(*model);
  SessionOptions options;
  options.policy = WaitK{GetParam().k};
  options.early_end = EarlyEnd::kStop;
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  for (const auto& trace : traces) {
    sinks.push_back(std::make_unique<CollectingSink>());
    auto session = scheduler.Open(options, sinks.back().get());
    ASSERT_TRUE(session.ok()) << session.status();
    (*session)->Push(trace["source"].get<std::string>());
    (*session)->EndSource();
  }
  int same = 0;
  for (size_t i = 0; i < traces.size(); ++i) {
    sinks[i]->Wait();
    ASSERT_TRUE(sinks[i]->status.ok()) << sinks[i]->status;
    std::vector<int> ids;
    for (const TargetToken& token : sinks[i]->tokens) ids.push_back(token.id);
    ids.push_back(kEndOfSentence);
    if (ids == traces[i]["target_ids"].get<std::vector<int>>()) {
      ++same;
      EXPECT_EQ(traces[i]["prediction"].get<std::string>(), sinks[i]->segments[0].text);
    }
  }
  std::printf("%s, states %s, k = %d: %d of %zu sentences are the reference's, token for token\n",
              GetParam().compute_type, GetParam().state_type, GetParam().k, same, traces.size());
  EXPECT_GE(same, GetParam().same);
}
// Weights rounded to float16 may change a few near ties, coarser types more. A wrong formula
// changes nearly all sentences.
INSTANTIATE_TEST_SUITE_P(
    ComputeTypes, EmbeddedModelTest,
    ::testing::Values(TypeAndLeast{"float32", 3, 95}, TypeAndLeast{"float32", 7, 95},
                      TypeAndLeast{"bfloat16", 3, 75}, TypeAndLeast{"int8", 3, 50},
                      TypeAndLeast{"float32", 3, 95, "float16"},
                      TypeAndLeast{"int8", 3, 50, "float16"}),
    [](const auto& info) {
      return absl::StrCat(info.param.compute_type, "K", info.param.k, "States",
                          info.param.state_type);
    });

TEST(LoadModelTest, RefusesAnUnknownType) {
  const std::string directory = absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de");
  LoadOptions compute, state;
  compute.compute_type = "float8";
  state.state_type = "bfloat16";
  for (const LoadOptions& load : {compute, state}) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, LoadModel(directory, load).status().code());
  }
}

TEST(StateTypeTest, StatesInFloat16AreHalfAsLargeAndTheirCopiesGoOnByThemselves) {
  const std::string directory = absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de");
  LoadOptions load;
  const auto plain = LoadModel(directory, load);
  load.state_type = "float16";
  const auto half = LoadModel(directory, load);
  ASSERT_TRUE(plain.ok() && half.ok()) << half.status();
  EXPECT_NE((*plain)->content, (*half)->content);
  EXPECT_EQ((*half)->info.state_type, "float16");
  // The newest positions, and the sum of the features, are float32.
  EXPECT_NEAR(static_cast<double>((*half)->info.state_bytes_per_session) /
                  static_cast<double>((*plain)->info.state_bytes_per_session),
              0.53, 0.02);
  ExpectClonesGoOnByThemselves(*(*half)->translator, {(*half)->source_vocabulary.size(), 0,
                                                      (*half)->target_vocabulary.size()});
}

TEST(CheckModelTest, KnowsWithoutADeviceWhatItCannotDo) {
  const std::string model = absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de");
  LoadOptions load;
  for (const char* device : {"cpu", "torch-cpu", "cuda:0", "cuda"}) {
    load.device = device;
    EXPECT_TRUE(CheckModel(model, load).ok()) << CheckModel(model, load);
  }
  load.compute_type = "int8";
  EXPECT_EQ(CheckModel(model, load).code(), absl::StatusCode::kUnimplemented);
  load.compute_type = "";
  load.state_type = "float16";
  EXPECT_EQ(CheckModel(model, load).code(), absl::StatusCode::kUnimplemented);
  load.state_type = "";
  for (const char* device : {"", "cpu:0", "cuda:", "cuda:0:1", "../cuda", "CUDA"}) {
    load.device = device;
    EXPECT_EQ(CheckModel(model, load).code(), absl::StatusCode::kInvalidArgument) << device;
  }
}

}  // namespace
}  // namespace leapstream
