#include "streaming/pause_segmenter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace leapstream {
namespace {

constexpr int kRate = 16000;
constexpr int kFrame = kRate / 100;

AudioSamples& AddTone(double seconds, float level, AudioSamples* samples) {
  const auto count = static_cast<int>(std::lround(seconds * kRate));
  // At 100 Hz each 10 ms are one period, so that all frames of a tone have one level.
  for (int i = 0; i < count; ++i) {
    samples->push_back(32768 * level * std::sin(2 * static_cast<float>(M_PI) * i / kFrame));
  }
  return *samples;
}

PauseRule HalfASecond() {
  PauseRule rule;
  rule.duration = absl::Milliseconds(500);
  return rule;
}

// Each segment's samples; the last one may be open.
struct Cutter {
  explicit Cutter(PauseSegmenter s) : segmenter(std::move(s)) {}
  void Append(int64_t chunks, const AudioSamples& samples) {
    for (PauseSegmenter::Part& part : segmenter.Append(chunks, samples)) {
      if (!open) segments.emplace_back();
      open = !part.ends_segment;
      segments.back().insert(segments.back().end(), part.samples.begin(), part.samples.end());
      if (part.ends_segment) ends.push_back(part.end);
    }
  }
  PauseSegmenter segmenter;
  std::vector<AudioSamples> segments;
  std::vector<SourcePosition> ends;
  bool open = false;
};

AudioSamples Part(const AudioSamples& samples, double begin, double end) {
  return {samples.begin() + std::lround(begin * kRate), samples.begin() + std::lround(end * kRate)};
}

AudioSamples Talk() {
  AudioSamples samples;
  AddTone(1, 0, &samples);
  AddTone(1, 0.5f, &samples);    // This ends at 2 s, so that 500 ms are over at 2.5 s.
  AddTone(1, 0.001f, &samples);  // This is noise.
  AddTone(1, 0.2f, &samples);
  AddTone(0.49, 0, &samples);      // This is too short.
  AddTone(0.51, 0.2f, &samples);   // This ends at 5 s.
  AddTone(0.5, 0.001f, &samples);  // This is exactly as long as a pause.
  AddTone(0.5, 0.2f, &samples);    // This ends at 6 s.
  AddTone(2, 0, &samples);
  AddTone(0.1, 0.3f, &samples);  // This is open to the end.
  return samples;
}

TEST(PauseSegmenterTest, CutsAfterPausesAndLeavesTheQuietOut) {
  const AudioSamples talk = Talk();
  Cutter cutter(PauseSegmenter(HalfASecond(), kRate));
  cutter.Append(0, talk);
  ASSERT_EQ(cutter.segments.size(), 4u);
  EXPECT_EQ(cutter.segments[0], Part(talk, 0.8, 2.5));
  EXPECT_EQ(cutter.segments[1], Part(talk, 2.8, 5.5));
  EXPECT_EQ(cutter.segments[2], Part(talk, 5.5, 6.5));  // No quiet was left to lead in.
  EXPECT_EQ(cutter.segments[3], Part(talk, 7.8, 8.1));
  EXPECT_TRUE(cutter.open);
  EXPECT_EQ(cutter.segmenter.restart(), std::nullopt);
  ASSERT_EQ(cutter.ends.size(), 3u);
  EXPECT_EQ(cutter.ends[0].chunks, 0);
  EXPECT_EQ(cutter.ends[0].samples, 2.5 * kRate);
  EXPECT_TRUE(cutter.segmenter.EndSegment(1));
  EXPECT_FALSE(cutter.segmenter.EndSegment(1));
}

TEST(PauseSegmenterTest, ThresholdsAndRatesAreWhatTheyAreSaidToBe) {
  // A sine of level a has a root mean square of a / sqrt(2).
  for (const double db : {-60.0, -40.0, -10.0}) {
    for (const int side : {-1, 1}) {
      AudioSamples tone;
      AddTone(1, static_cast<float>(std::sqrt(2) * std::pow(10, (db + 0.1 * side) / 20)), &tone);
      PauseRule rule = HalfASecond();
      rule.threshold_db = db;
      Cutter cutter(PauseSegmenter(rule, kRate));
      cutter.Append(0, tone);
      EXPECT_EQ(cutter.segments.size(), side < 0 ? 0u : 1u) << db;
    }
  }
  PauseSegmenter slow(HalfASecond(), 8000);  // The same samples last twice as long.
  const auto parts = slow.Append(0, Talk());
  ASSERT_FALSE(parts.empty());
  EXPECT_EQ(parts[0].end.samples, 2 * kRate + 8000 / 2);
}

TEST(PauseSegmenterTest, SilenceMakesNoSegmentAndIsForgotten) {
  AudioSamples silence;
  AddTone(0.07, 0, &silence);
  Cutter cutter(PauseSegmenter(HalfASecond(), kRate));
  for (int64_t chunk = 0; chunk < 1000; ++chunk) cutter.Append(chunk, silence);
  EXPECT_TRUE(cutter.segments.empty());
  // The client need not keep more than two lead-ins.
  ASSERT_TRUE(cutter.segmenter.restart().has_value());
  EXPECT_GE(cutter.segmenter.restart()->chunks, 1000 - 2 * 200 / 70 - 2);
  EXPECT_FALSE(cutter.segmenter.EndSegment(1000));
}

// The chunks of the audio do not matter, nor the place of a resume.
TEST(PauseSegmenterTest, ChunksAndResumesDoNotShow) {
  AudioSamples talk = Talk();
  talk.insert(talk.begin(), 77, 1);  // Now frames lie across: 500 ms have only 49 quiet ones.
  Cutter whole(PauseSegmenter(HalfASecond(), kRate));
  whole.Append(0, talk);
  ASSERT_EQ(whole.segments.size(), 3u);
  for (int seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<AudioSamples> chunks;
    for (size_t begin = 0; begin < talk.size();) {
      const size_t count =
          std::min<size_t>(random() % (seed % 3 == 0 ? 300 : 20000), talk.size() - begin);
      chunks.emplace_back(talk.begin() + begin, talk.begin() + begin + count);
      begin += count;
    }
    const auto from = [&](SourcePosition at, int drops) {
      Cutter cutter(PauseSegmenter(HalfASecond(), kRate, at, drops));
      for (size_t c = at.chunks; c < chunks.size(); ++c) {
        cutter.Append(static_cast<int64_t>(c), chunks[c]);
      }
      return cutter.segments;
    };
    Cutter cut(PauseSegmenter(HalfASecond(), kRate));
    for (size_t c = 0; c < chunks.size(); ++c) {
      cut.Append(static_cast<int64_t>(c), chunks[c]);
      // Another segmenter can go on from a place between two segments.
      const auto restart = cut.segmenter.restart();
      if (const auto loud = cut.segmenter.last_loud(); loud.has_value() && random() % 8 == 0) {
        EXPECT_EQ(from(*loud, 1),
                  std::vector<AudioSamples>(whole.segments.begin() + cut.segments.size(),
                                            whole.segments.end()))
            << "seed " << seed << " chunk " << c;
      }
      if (!restart.has_value() || random() % 8 != 0) continue;
      const size_t done = cut.segments.size();
      EXPECT_EQ(from(*restart, 0),
                std::vector<AudioSamples>(whole.segments.begin() + done, whole.segments.end()))
          << "seed " << seed << " chunk " << c;
    }
    EXPECT_EQ(cut.segments, whole.segments) << "seed " << seed;
    for (size_t s = 0; s < cut.ends.size(); ++s) {
      const std::vector<AudioSamples> rest(whole.segments.begin() + s + 1, whole.segments.end());
      EXPECT_EQ(from(cut.ends[s], 0), rest) << "seed " << seed << " segment " << s;
      EXPECT_EQ(from({}, static_cast<int>(s) + 1), rest) << "seed " << seed << " segment " << s;
    }
  }
}

TEST(PauseRuleTest, SaysWhatIsOutOfRange) {
  PauseRule rule;
  EXPECT_TRUE(rule.Check().ok());  // The rule is off.
  for (const absl::Duration wrong :
       {absl::Milliseconds(99), absl::Seconds(61), -absl::Seconds(1), absl::InfiniteDuration()}) {
    rule.duration = wrong;
    EXPECT_TRUE(absl::IsInvalidArgument(rule.Check())) << wrong;
  }
  rule.duration = absl::Milliseconds(100);
  EXPECT_TRUE(rule.Check().ok());
  for (const double wrong : {-90.5, 0.0, 3.0, std::nan("")}) {
    rule.threshold_db = wrong;
    EXPECT_TRUE(absl::IsInvalidArgument(rule.Check())) << wrong;
  }
}

}  // namespace
}  // namespace leapstream
