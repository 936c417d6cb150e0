// An hour of audio as one segment of the client's, through the segmenter and a session.
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "base/mutex.h"
#include "streaming/pause_segmenter.h"
#include "streaming/scheduler.h"
#include "streaming/session_limits.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

constexpr int kRate = kSpeechSampleRate;
constexpr int kSeconds = 3600;

// Keeps the ends of segments only, and says when there is room again.
class EndsSink final : public SessionSink {
 public:
  void OnEvent(SessionEvent event) override {
    MutexLock lock(&mutex_);
    if (const auto* delta = std::get_if<TargetDelta>(&event)) {
      EXPECT_GE(delta->token.audio_offset, offset_);
      offset_ = delta->token.audio_offset;
    } else if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      segments.push_back(std::move(*completed));
    }
  }
  void OnRoom() override {
    MutexLock lock(&mutex_);
    has_room_ = true;
    changed_.NotifyAll();
  }
  void OnFinished(absl::Status finished) override {
    MutexLock lock(&mutex_);
    status = std::move(finished);
    finished_ = true;
    changed_.NotifyAll();
  }
  void AwaitRoom(Session& session) {
    {
      MutexLock lock(&mutex_);
      has_room_ = false;
    }
    if (session.HasRoom()) return;
    MutexLock lock(&mutex_);
    while (!has_room_ && !finished_) changed_.Wait(&mutex_);
  }
  void Wait() {
    MutexLock lock(&mutex_);
    while (!finished_) changed_.Wait(&mutex_);
  }
  size_t completed() {
    MutexLock lock(&mutex_);
    return segments.size();
  }

  std::vector<SegmentCompleted> segments;  // To be read after Wait().
  absl::Status status;

 private:
  Mutex mutex_;
  CondVar changed_;
  bool has_room_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration offset_ ABSL_GUARDED_BY(mutex_);
};

// A second of audio whose level changes all the time, and never becomes quiet.
AudioSamples Second(std::mt19937& random) {
  AudioSamples samples;
  while (samples.size() < kRate) {
    const float level = 500 + static_cast<float>(random() % 9000);
    for (int i = 0; i < kRate / 20; ++i) samples.push_back(i % 40 < 20 ? level : -level);
  }
  return samples;
}

TEST(LongAudioTest, AnHourOfTalkNeitherFallsBehindNorGrows) {
  FakeModelOptions options;
  options.speech = true;
  Scheduler scheduler(FakeModel(options));
  SessionOptions asked;
  asked.policy = WaitK();
  asked.max_source_tokens = 1500;  // A minute.
  EndsSink sink;
  auto session = scheduler.Open(asked, &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Duration limit = AudioLimit(asked, scheduler.model()->info);
  ASSERT_EQ(limit, absl::Minutes(1));
  PauseSegmenter segmenter(PauseRule(), {kRate, limit});
  const auto push = [&](PauseSegmenter::Part part) {
    if (!part.samples.empty()) (*session)->Push(std::move(part.samples), part.begin);
    if (part.ends_segment) (*session)->EndSegment();
  };
  std::mt19937 random(1);
  size_t early = 0;
  for (int second = 0; second < kSeconds; ++second) {
    for (PauseSegmenter::Part& part : segmenter.Append(second, Second(random))) {
      push(std::move(part));
    }
    sink.AwaitRoom(**session);
    if (second == kSeconds / 10) early = mallinfo2().uordblks;
    // All but the open segment, and the one that may be queued, is translated by now.
    EXPECT_GE(static_cast<int>(sink.completed()) + 2, second / 60) << second;
  }
  const size_t late = mallinfo2().uordblks;
  push(*segmenter.Finish(kSeconds));
  (*session)->EndSource();
  sink.Wait();
  ASSERT_TRUE(sink.status.ok()) << sink.status;
  EXPECT_LT(late, early + (4 << 20)) << "the memory of nine tenths of the talk";
  EXPECT_GE(sink.segments.size(), 60u);
  absl::Duration end;
  for (const SegmentCompleted& segment : sink.segments) {
    EXPECT_EQ(segment.audio_begin, end) << "segment " << segment.segment;
    EXPECT_EQ(segment.audio_end - segment.audio_begin, segment.stats.source_audio);
    EXPECT_LE(segment.stats.source_audio, limit);
    EXPECT_NE(segment.reason, FinishReason::kSourceLimit);
    EXPECT_FALSE(segment.source_dropped);
    EXPECT_FALSE(segment.text.empty());
    end = segment.audio_end;
  }
  EXPECT_EQ(end, absl::Seconds(kSeconds)) << "no sample is lost";
}

// An hour without a sound costs the model nothing.
TEST(LongAudioTest, AnHourOfSilenceGivesNoTextAndNoWork) {
  FakeModelOptions options;
  options.speech = true;
  Scheduler scheduler(FakeModel(options));
  EndsSink sink;
  auto session = scheduler.Open(SessionOptions(), &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  PauseSegmenter segmenter(PauseRule(), {kRate, absl::Minutes(1)});
  const AudioSamples silence(kRate, 3);
  for (int second = 0; second < kSeconds; ++second) {
    for (PauseSegmenter::Part& part : segmenter.Append(second, silence)) {
      EXPECT_TRUE(part.samples.empty());
      EXPECT_TRUE(part.is_cut);
      (*session)->EndSegment();
    }
    sink.AwaitRoom(**session);
  }
  (*session)->EndSource();
  sink.Wait();
  EXPECT_EQ(sink.segments.size(), 60u);
  for (const SegmentCompleted& segment : sink.segments) {
    EXPECT_TRUE(segment.text.empty());
    EXPECT_EQ(segment.stats.source_tokens, 0);
    EXPECT_EQ(segment.stats.cost.decoder_rows, 0);
    EXPECT_EQ(segment.audio_end, absl::ZeroDuration());
  }
}

// A client's end is answered once more if the translation of what came before had ended early.
TEST(LongAudioTest, AnAnsweredEndCompletesAnEmptySegmentAfterAnEarlyOne) {
  FakeModelOptions options;
  options.speech = true;
  options.ends_after = 2;
  Scheduler scheduler(FakeModel(options));
  SessionOptions asked;
  asked.early_end = EarlyEnd::kStop;
  for (const Session::End end : {Session::End::kUsual, Session::End::kAnswered}) {
    CollectingSink sink;
    auto session = scheduler.Open(asked, &sink);
    ASSERT_TRUE(session.ok()) << session.status();
    std::mt19937 random(1);
    for (int second = 0; second < 5; ++second) (*session)->Push(Second(random));
    (*session)->EndSegment(end);
    (*session)->EndSource();
    sink.Wait();
    ASSERT_TRUE(sink.status.ok()) << sink.status;
    ASSERT_EQ(sink.segments.size(), end == Session::End::kUsual ? 1u : 2u);
    EXPECT_TRUE(sink.segments[0].ended_early);
    EXPECT_TRUE(sink.segments[0].source_dropped);
    if (end == Session::End::kUsual) continue;
    EXPECT_TRUE(sink.segments[1].text.empty());
    EXPECT_FALSE(sink.segments[1].ended_early);
  }
}

}  // namespace
}  // namespace leapstream
