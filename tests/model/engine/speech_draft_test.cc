// Sessions of speech with drafts, each against its slow twin: the golden checkpoints.
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/draft_twin.h"
#include "tests/testing/wav_file.h"

namespace leapstream {
namespace {

std::string Golden(const std::string& path) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR "/tests/golden/speech/", path);
}

std::shared_ptr<const Model> Exported(const std::string& name) {
  const std::string directory = absl::StrCat(testing::TempDir(), "/speech-draft-", name);
  const std::string command =
      absl::StrCat(LEAPSTREAM_BINARY_DIR "/bin/leapstream-export --checkpoint ",
                   Golden(absl::StrCat("checkpoints/", name, ".pt")), " --config-yaml ",
                   Golden("data/config_st.yaml"), " --target-dict ",
                   Golden("data/spm_unigram400_st.txt"), " --target-spm ",
                   Golden("data/spm_unigram400_st.model"),
                   " --source-lang en --target-lang de --output ", directory, " > /dev/null");
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  auto model = LoadModel(directory);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::unique_ptr<CollectingSink> Translate(Scheduler& scheduler, const Policy& policy,
                                          const std::vector<float>& samples, size_t chunk) {
  SessionOptions options;
  options.policy = policy;
  auto sink = std::make_unique<CollectingSink>();
  auto session = scheduler.Open(options, sink.get());
  EXPECT_TRUE(session.ok()) << session.status();
  if (!session.ok()) return sink;
  for (size_t begin = 0; begin < samples.size(); begin += chunk) {
    const absl::Span<const float> next = absl::MakeConstSpan(samples).subspan(begin, chunk);
    (*session)->Push(AudioSamples(next.begin(), next.end()));
  }
  (*session)->EndSource();
  sink->Wait();
  EXPECT_TRUE(sink->status.ok()) << sink->status;
  return sink;
}

class SpeechDraftTest : public testing::TestWithParam<const char*> {};

TEST_P(SpeechDraftTest, SessionsEqualTheirTwins) {
  const auto model = Exported(GetParam());
  Scheduler scheduler(model);
  std::vector<Policy> policies = {LocalAgreement{2}, LocalAgreement{2, 2}, HoldN{3}};
  if (model->info.shows_attention) {
    policies.insert(policies.end(), {AlignAtt{2}, AlignAtt{8}});
  }
  bool early = false;
  for (const char* recording : {"test-1", "train-2", "e-pause"}) {
    const std::vector<float> samples = ReadSamples(Golden(absl::StrCat("wav/", recording, ".wav")));
    for (const Policy& policy : policies) {
      const auto sink = Translate(scheduler, policy, samples, samples.size());
      ASSERT_EQ(sink->segments.size(), 1u);
      DraftTwin twin(*model, policy, *model->FrameOf({}), model->info.bidirectional_encoder);
      EXPECT_TRUE(All(*sink) == twin.TranslateSpeech(samples, *model->info.speech)) << ToString(policy) << recording;
      EXPECT_EQ(sink->appended[0], sink->segments[0].text);
      early |= !sink->tokens.empty() &&
               sink->tokens[0].source_audio < sink->segments[0].stats.source_audio;
      // Any chunking gives the same.
      const auto cut = Translate(scheduler, policy, samples, 1000);
      EXPECT_TRUE(All(*cut) == All(*sink)) << ToString(policy);
    }
  }
  EXPECT_TRUE(early) << "nothing was ever written before the source's end";
}

TEST_P(SpeechDraftTest, WhatSpeechDoesNotHaveIsRefused) {
  const auto model = Exported(GetParam());
  CollectingSink sink;  // The session that is taken ends with the scheduler.
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = LocalAgreement();
  options.read_words = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler.Open(options, &sink).status()));
  options.read_words = 0;
  options.prefix_end = true;
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler.Open(options, &sink).status()));
  options.prefix_end.reset();
  options.policy = AlignAtt();
  EXPECT_EQ(scheduler.Open(options, &sink).ok(), model->info.shows_attention);
}

INSTANTIATE_TEST_SUITE_P(All, SpeechDraftTest,
                         testing::Values("speech_softmax", "speech_leap"));

}  // namespace
}  // namespace leapstream
