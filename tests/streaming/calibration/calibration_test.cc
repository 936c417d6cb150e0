// The numbers that are found for the policies of a model, and the program that writes them down.
#include "streaming/calibration/calibration.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "streaming/calibration/tries.h"
#include "model/engine/load_model.h"
#include "tests/end_to_end/processes.h"
#include "tests/testing/random_model.h"

namespace leapstream {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kSentences = {
    "the committee said that it would look at the report again", "",
    "a man who was not named was taken to the hospital in the city with a broken leg", "no",
    "we have to find out why so many people did not get the help that they asked for"};

// The first of two heads looks at a place that tells whether a try is right, the second anywhere.
Tries MadeUp() {
  std::mt19937 random(5);
  Tries tries;
  tries.layers = 1;
  tries.heads = 2;
  for (int i = 0; i < 4000; ++i) {
    Try each;
    each.source_read = 12;
    each.written = static_cast<int>(random() % 10);
    const int distance = static_cast<int>(random() % 10);
    each.right = distance > 3 || random() % 20 == 0;
    each.log_prob = each.right ? -0.1f : -2.0f;
    each.attended = {11 - distance, static_cast<int>(random() % 11), 5};
    tries.tries.push_back(each);
  }
  return tries;
}

TEST(CalibrationTest, FindsTheHeadWhoseDistanceTellsRightFromWrong) {
  const Tries tries = MadeUp();
  const std::vector<HeadScore> heads = ScoreHeads(tries);
  ASSERT_EQ(heads.size(), 3u);
  EXPECT_EQ(heads[0].head, 0);
  EXPECT_GT(heads[0].area, 0.95);
  EXPECT_GT(heads[0].area_within_lag, 0.95);
  for (const HeadScore& other : {heads[1], heads[2]}) {
    EXPECT_NEAR(other.area, 0.5, 0.05);
    EXPECT_NEAR(other.area_within_lag, 0.5, 0.05);
  }
  EXPECT_NEAR(ScoreLag(tries).area, 0.5, 0.05);
  EXPECT_EQ(ScoreLag(tries).area_within_lag, 0.5);
  const std::vector<FrameScore> frames = ScoreFrames(tries, heads[0]);
  EXPECT_EQ(frames[0].frames, 0);
  EXPECT_LT(frames[2].right, 0.9);
  EXPECT_EQ(frames[3].right, 1);
  EXPECT_EQ(ChooseFrames(frames), 3);
}

// The plainest count of pairs.
TEST(CalibrationTest, AnAreaIsAShareOfPairs) {
  Tries tries = MadeUp();
  tries.tries.resize(150);
  double larger = 0, all = 0;
  for (const Try& right : tries.tries) {
    for (const Try& wrong : tries.tries) {
      if (!right.right || wrong.right) continue;
      ++all;
      larger += right.lag() > wrong.lag() ? 1 : right.lag() == wrong.lag() ? 0.5 : 0;
    }
  }
  EXPECT_DOUBLE_EQ(ScoreLag(tries).area, larger / all);
}

TEST(CalibrationTest, AThresholdIsTheQuantileThatAsManyReachAsAreRight) {
  Tries tries;
  for (int lag = 1; lag <= 4; ++lag) {
    for (int i = 0; i < 10; ++i) {
      Try each;
      each.source_read = 10 + lag;
      each.written = 10;
      each.right = i < 2 * lag;
      each.log_prob = -0.1f * static_cast<float>(9 - i);  // The right ones are not the likely ones.
      tries.tries.push_back(each);
    }
  }
  const std::vector<LagScore> lags = ScoreLags(tries, 9);
  ASSERT_EQ(lags.size(), 4u);
  EXPECT_EQ(lags[0].tries, 10);
  EXPECT_DOUBLE_EQ(lags[0].right, 0.2);
  EXPECT_NEAR(lags[0].threshold, std::exp(-0.1), 1e-6);
  EXPECT_NEAR(lags[3].threshold, std::exp(-0.7), 1e-6);
  const std::vector<float> thresholds = ChooseThresholds(lags, 1, 4);
  EXPECT_NEAR(thresholds[0], std::exp(-0.1), 0.03);
  EXPECT_NEAR(thresholds[1], std::exp(-0.7), 0.03);
  EXPECT_LE(ChooseThresholds(lags, 1, 100)[1], 0.02f);  // It stays a probability.
}

// The place of a head is the one that a session gets when that head is the model's alignment.
TEST(CalibrationTest, HeadsLookWhereDecisionsSayTheyDo) {
  for (const char* attention : {"softmax", "leap"}) {
    const auto kind = [&](ModelConfig& config) {
      config.encoder.self_attention = config.decoder.self_attention = attention;
    };
    const std::string directory = WriteRandomModel("calibration_model", kind);
    auto config = *ReadModelDirectory(directory);
    const auto model = LoadModel(directory);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto tries = CollectTries(**model, config, kSentences, {});
    ASSERT_TRUE(tries.ok()) << tries.status();
    EXPECT_EQ(tries->sentences, 3);
    for (int layer = 0; layer < 2; ++layer) {
      for (int head = 0; head <= 2; ++head) {
        config.alignment_layer = layer;
        config.alignment_heads.clear();
        if (head < 2) config.alignment_heads = {head};
        ASSERT_TRUE(ReplaceModelJson(directory, config).ok());
        const auto looking = LoadModel(directory);
        ASSERT_TRUE(looking.ok()) << looking.status();
        const Frame frame = *(*looking)->FrameOf({});
        std::vector<TokenId> source;
        for (const std::string& piece : (*model)->source_tokenizer->Encode(kSentences[0])) {
          source.push_back((*model)->source_vocabulary.Id(piece));
        }
        // The first try of each prefix of the first sentence.
        int compared = 0;
        for (const Try& each : tries->tries) {
          if (each.written > 0) break;
          auto state = *(*looking)->translator->NewState();
          state->SetFrame(frame);
          state->ShowAttention();
          const auto part = absl::MakeConstSpan(source).first(each.source_read);
          ASSERT_TRUE((*looking)->translator->Read({SourceRows{state.get(), part}}).ok());
          Decision decision;
          SessionState* const states[] = {state.get()};
          ASSERT_TRUE(
              (*looking)->translator->Decide(states, absl::MakeSpan(&decision, 1)).ok());
          EXPECT_EQ(each.attended.at(layer * 3 + head), decision.attended);
          EXPECT_EQ(each.log_prob, decision.best.log_prob);
          ++compared;
        }
        EXPECT_GT(compared, 3);
      }
    }
  }
}

// LeaP's cross-attention is sums, but a short past is rows.
TEST(CalibrationTest, TheEmbeddedModelsHeadsAreKnown) {
  const auto model = LoadModel(EmbeddedModel());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto tries = CollectTries(**model, *ReadModelDirectory(EmbeddedModel()), kSentences, {});
  ASSERT_TRUE(tries.ok()) << tries.status();
  EXPECT_EQ(ScoreHeads(*tries).size(), static_cast<size_t>(tries->layers * (tries->heads + 1)));
}

class CalibrateProgramTest : public testing::Test {
 protected:
  // Returns the exit status; the output is in output_.
  int Run(const std::string& program, std::vector<std::string> arguments) {
    const std::string log = folder_ / "log";
    std::filesystem::remove(log);
    arguments.insert(arguments.begin(), LEAPSTREAM_BINARY_DIR "/bin/" + program);
    Process process;
    process.Start(arguments, log);
    const int status = process.Wait();
    output_ = ReadFile(log);
    return status;
  }
  std::string WriteSentences() {
    const std::string path = folder_ / "source.en";
    std::ofstream file(path);
    for (const std::string& sentence : kSentences) file << sentence << "\n";
    return path;
  }

  TestFolder folder_;
  std::string output_;
};

TEST_F(CalibrateProgramTest, WritesWhatItFindsAndNothingElse) {
  const std::string directory = WriteRandomModel("calibrated_model");
  const std::string before = ReadFile(directory + "/model.json"), source = WriteSentences();
  EXPECT_EQ(Run("leapstream-calibrate", {"--model", directory, "--source", source, "--dry-run"}), 0)
      << output_;
  EXPECT_THAT(output_, HasSubstr("| (the lag alone) |"));
  EXPECT_EQ(ReadFile(directory + "/model.json"), before);

  EXPECT_EQ(Run("leapstream-calibrate", {"--model", directory, "--source", source}), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("model.json written"));
  const auto model = LoadModel(directory);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_GE((*model)->info.alignment_frames, 1);
  EXPECT_EQ((*model)->info.adaptive_thresholds.size(), 2u);
  auto config = *ReadModelDirectory(directory);
  EXPECT_GE(config.alignment_layer, 0);
  // All else is as it was.
  config.alignment_layer = -1;
  config.alignment_heads.clear();
  config.alignment_frames = 0;
  config.adaptive_thresholds.clear();
  ASSERT_TRUE(ReplaceModelJson(directory, config).ok());
  EXPECT_EQ(ReadFile(directory + "/model.json"), before);
}

#ifdef LEAPSTREAM_HAS_COMMAND
TEST_F(CalibrateProgramTest, ACommandOfTheClientRunsIt) {
  EXPECT_EQ(Run("leapstream", {"calibrate", "--help"}), 0);
  EXPECT_THAT(output_, HasSubstr("--dry-run"));
  const std::string source = WriteSentences();
  EXPECT_EQ(Run("leapstream", {"calibrate", "--model", EmbeddedModel(), "--source", source,
                               "--policy", "alignatt"}),
            1);
  EXPECT_THAT(output_, HasSubstr("cannot be served with alignatt"));
}
#endif

TEST_F(CalibrateProgramTest, RefusesWhatItCannotUse) {
  const std::string empty = folder_ / "empty.en";
  std::ofstream(empty) << "\n";
  EXPECT_EQ(Run("leapstream-calibrate", {"--model", EmbeddedModel(), "--source", empty}), 1);
  EXPECT_THAT(output_, HasSubstr("want sentences of 6 to 120 tokens"));
  EXPECT_EQ(Run("leapstream-calibrate", {"--model", EmbeddedModel()}), 2);
}

}  // namespace
}  // namespace leapstream
