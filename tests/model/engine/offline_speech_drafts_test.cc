// Local agreement, hold-n and AlignAtt with models of speech that were trained offline: sessions
// equal their slow twin, however their audio is cut and whoever is beside them.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "streaming/scheduler.h"
#include "streaming/session_limits.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/draft_twin.h"
#include "tests/testing/offline_speech.h"

namespace leapstream {
namespace {

struct Running {
  CollectingSink sink;
  std::shared_ptr<Session> session;
};

std::unique_ptr<Running> Start(Scheduler& scheduler, const SessionOptions& options,
                               const std::vector<float>& samples, size_t chunk) {
  auto running = std::make_unique<Running>();
  auto session = scheduler.Open(options, &running->sink);
  EXPECT_TRUE(session.ok()) << session.status();
  running->session = *std::move(session);
  for (size_t begin = 0; begin < samples.size(); begin += chunk) {
    const size_t end = std::min(begin + chunk, samples.size());
    running->session->Push(AudioSamples(samples.begin() + begin, samples.begin() + end));
  }
  running->session->EndSegment();
  running->session->EndSource();
  return running;
}

std::vector<Written> WrittenBy(Running& running) {
  running.sink.Wait();
  EXPECT_TRUE(running.sink.status.ok()) << running.sink.status;
  EXPECT_EQ(running.sink.segments.size(), 1u);
  return All(running.sink);
}

class OfflineSpeechDraftsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OfflineSpeechDraftsTest, SessionsEqualTheirSlowTwin) {
  const auto model = LoadedOfflineSpeech(GetParam());
  Scheduler scheduler(model);
  size_t early = 0;
  for (const Policy& policy :
       {Policy(LocalAgreement{2}), Policy(LocalAgreement{2, 2}), Policy(HoldN{3}),
        Policy(AlignAtt{4}), Policy(AlignAtt{8, -1})}) {
    for (const int read_ms : {480, 1000}) {
      for (const char* wav : {"test-1", "e-quiet-start"}) {
        SCOPED_TRACE(absl::StrCat(ToString(policy), " ", read_ms, " ms ", wav));
        const std::vector<float> samples =
            ReadSamples(OfflineSpeechPath(absl::StrCat("wav/", wav, ".wav")));
        SessionOptions options;
        options.policy = policy;
        options.read_ms = read_ms;
        options.languages = {"en", "de"};
        DraftTwin twin(*model, policy, *model->FrameOf(options.languages),
                       RefreshesPast(options, model->info));
        const std::vector<Written> expected =
            twin.TranslateSpeech(samples, InputOf(options, model->info));
        // Together in one scheduler, and cut in different ways.
        const auto one = Start(scheduler, options, samples, 8000);
        const auto other = Start(scheduler, options, samples, 333);
        EXPECT_TRUE(WrittenBy(*one) == expected);
        EXPECT_TRUE(WrittenBy(*other) == expected);
        EXPECT_EQ(one->sink.appended[0], one->sink.segments[0].text);  // Text is only appended.
        const int states = one->sink.segments[0].stats.source_tokens;
        early += std::count_if(expected.begin(), expected.end(), [states](const Written& token) {
          return token.source_read < states;
        });
      }
    }
  }
  EXPECT_GT(early, 10u);  // They do not wait for the end.
}

// Counting words, a spoken word is 400 ms: the first word waits for k of them.
TEST_P(OfflineSpeechDraftsTest, WaitKCountsSpokenWords) {
  const auto model = LoadedOfflineSpeech(GetParam());
  Scheduler scheduler(model);
  const std::vector<float> samples = ReadSamples(OfflineSpeechPath("wav/test-1.wav"));
  SessionOptions options;
  options.policy = WaitK{3, 1, /*count_words=*/true};
  options.read_ms = 400;
  options.early_end = EarlyEnd::kSuppress;
  options.languages = {"en", "de"};
  const auto running = Start(scheduler, options, samples, 777);
  const std::vector<Written> written = WrittenBy(*running);
  ASSERT_FALSE(written.empty());
  const TargetUnits units(*model);
  int words = 0;
  TokenId last = TargetUnits::kNone;
  for (const TargetToken& token : running->sink.tokens) {
    if (units.Begins(last, token.id)) ++words;
    last = token.id;
    const absl::Duration due =
        std::min(absl::Milliseconds(400) * (2 + std::max(words, 1)),
                 absl::Seconds(samples.size()) / kSpeechSampleRate);
    EXPECT_GE(token.source_audio, due) << words;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OfflineSpeechDraftsTest, ::testing::ValuesIn(OfflineSpeechModels()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace leapstream
