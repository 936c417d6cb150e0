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

PauseSegmenter::Input At(int sample_rate, absl::Duration limit = absl::InfiniteDuration()) {
  return {sample_rate, limit};
}

// Each segment's samples; the last one may be open.
struct Cutter {
  explicit Cutter(PauseSegmenter s) : segmenter(std::move(s)) {}
  void Append(int64_t chunks, const AudioSamples& samples) {
    for (const PauseSegmenter::Part& part : segmenter.Append(chunks, samples)) Take(part);
  }
  void Finish(int64_t chunks) {
    if (const auto part = segmenter.Finish(chunks); part.has_value()) Take(*part);
  }
  void Take(const PauseSegmenter::Part& part) {
    if (!open) {
      segments.emplace_back();
      begins.push_back(part.begin.audio);
    }
    if (!part.samples.empty()) {
      EXPECT_EQ(begins.back() + static_cast<int64_t>(segments.back().size()), part.begin.audio);
    }
    open = !part.ends_segment;
    segments.back().insert(segments.back().end(), part.samples.begin(), part.samples.end());
    if (!part.ends_segment) return;
    ends.push_back(part.end);
    cuts.push_back(part.is_cut);
  }
  PauseSegmenter segmenter;
  std::vector<AudioSamples> segments;
  std::vector<int64_t> begins;  // The samples before each segment.
  std::vector<SourcePosition> ends;
  std::vector<bool> cuts;
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
  Cutter cutter(PauseSegmenter(HalfASecond(), At(kRate)));
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
  EXPECT_TRUE(cutter.segmenter.EndSegment(1).has_value());
  EXPECT_FALSE(cutter.segmenter.EndSegment(1).has_value());
}

TEST(PauseSegmenterTest, ThresholdsAndRatesAreWhatTheyAreSaidToBe) {
  // A sine of level a has a root mean square of a / sqrt(2).
  for (const double db : {-60.0, -40.0, -10.0}) {
    for (const int side : {-1, 1}) {
      AudioSamples tone;
      AddTone(1, static_cast<float>(std::sqrt(2) * std::pow(10, (db + 0.1 * side) / 20)), &tone);
      PauseRule rule = HalfASecond();
      rule.threshold_db = db;
      Cutter cutter(PauseSegmenter(rule, At(kRate)));
      cutter.Append(0, tone);
      EXPECT_EQ(cutter.segments.size(), side < 0 ? 0u : 1u) << db;
    }
  }
  PauseSegmenter slow(HalfASecond(), At(8000));  // The same samples last twice as long.
  const auto parts = slow.Append(0, Talk());
  ASSERT_FALSE(parts.empty());
  EXPECT_EQ(parts[0].end.samples, 2 * kRate + 8000 / 2);
}

TEST(PauseSegmenterTest, SilenceMakesNoSegmentAndIsForgotten) {
  AudioSamples silence;
  AddTone(0.07, 0, &silence);
  Cutter cutter(PauseSegmenter(HalfASecond(), At(kRate)));
  for (int64_t chunk = 0; chunk < 1000; ++chunk) cutter.Append(chunk, silence);
  EXPECT_TRUE(cutter.segments.empty());
  // The client need not keep more than two lead-ins.
  ASSERT_TRUE(cutter.segmenter.restart().has_value());
  EXPECT_GE(cutter.segmenter.restart()->chunks, 1000 - 2 * 200 / 70 - 2);
  EXPECT_FALSE(cutter.segmenter.EndSegment(1000).has_value());
}

// The chunks of the audio do not matter, nor the place of a resume.
TEST(PauseSegmenterTest, ChunksAndResumesDoNotShow) {
  AudioSamples talk = Talk();
  talk.insert(talk.begin(), 77, 1);  // Now frames lie across: 500 ms have only 49 quiet ones.
  Cutter whole(PauseSegmenter(HalfASecond(), At(kRate)));
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
      Cutter cutter(PauseSegmenter(HalfASecond(), At(kRate), {at, drops}));
      for (size_t c = at.chunks; c < chunks.size(); ++c) {
        cutter.Append(static_cast<int64_t>(c), chunks[c]);
      }
      return cutter.segments;
    };
    Cutter cut(PauseSegmenter(HalfASecond(), At(kRate)));
    for (size_t c = 0; c < chunks.size(); ++c) {
      cut.Append(static_cast<int64_t>(c), chunks[c]);
      // Another segmenter can go on from a place between two segments.
      const auto restart = cut.segmenter.restart();
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

// A talk without a pause: a tone whose level changes all the time.
AudioSamples Murmur(double seconds, int seed) {
  std::mt19937 random(seed);
  AudioSamples samples;
  while (static_cast<double>(samples.size()) < seconds * kRate) {
    AddTone(0.05 + static_cast<double>(random() % 20) / 100,
            0.05f + static_cast<float>(random() % 1000) / 2000, &samples);
  }
  samples.resize(static_cast<size_t>(std::lround(seconds * kRate)));
  return samples;
}

std::vector<AudioSamples> CutUp(const AudioSamples& samples, int seed, size_t most) {
  std::mt19937 random(seed);
  std::vector<AudioSamples> chunks;
  for (size_t begin = 0; begin < samples.size();) {
    const size_t count = std::min<size_t>(random() % most + 1, samples.size() - begin);
    chunks.emplace_back(samples.begin() + begin, samples.begin() + begin + count);
    begin += count;
  }
  return chunks;
}

size_t Sum(const std::vector<AudioSamples>& segments) {
  size_t sum = 0;
  for (const AudioSamples& segment : segments) sum += segment.size();
  return sum;
}

constexpr absl::Duration kLimit = absl::Seconds(10);

TEST(LongAudioTest, IsCutInTheMiddleOfTheQuietestPlaceBeforeTheLimit) {
  AudioSamples talk;
  AddTone(6.0, 0.3f, &talk);
  AddTone(0.3, 0.1f, &talk);  // This is quieter than the rest, but more than 3 s before the limit.
  AddTone(1.5, 0.3f, &talk);
  AddTone(0.2, 0.2f, &talk);  // At 7.8 s.
  AddTone(1.0, 0.3f, &talk);
  AddTone(0.2, 0.19f, &talk);  // The quietest place, at 9.0 s.
  AddTone(5.0, 0.3f, &talk);
  for (const PauseRule& rule : {PauseRule(), HalfASecond()}) {
    Cutter cutter(PauseSegmenter(rule, At(kRate, kLimit)));
    cutter.Append(0, talk);
    cutter.Finish(1);
    ASSERT_EQ(cutter.segments.size(), 2u);
    EXPECT_EQ(cutter.segments[0], Part(talk, 0, 9.1));
    EXPECT_EQ(cutter.segments[1], Part(talk, 9.1, 14.2));
    EXPECT_EQ(cutter.begins[1], std::lround(9.1 * kRate));
    EXPECT_TRUE(cutter.cuts[0]);
    EXPECT_FALSE(cutter.cuts[1]) << "the end of the audio is no cut";
  }
}

TEST(LongAudioTest, AQuietPlaceNearTheLimitIsTakenAtOnce) {
  AudioSamples talk;
  AddTone(7.5, 0.3f, &talk);
  AddTone(0.25, 0.001f, &talk);  // -63 dB; less than a pause.
  AddTone(0.1, 0.3f, &talk);
  AddTone(0.4, 0, &talk);
  AddTone(1, 0.3f, &talk);
  for (const PauseRule& rule : {PauseRule(), HalfASecond()}) {
    Cutter cutter(PauseSegmenter(rule, At(kRate, kLimit)));
    cutter.Append(0, Part(talk, 0, 7.7));
    EXPECT_EQ(cutter.ends.size(), 1u) << "nothing has to be waited for";
    EXPECT_EQ(cutter.segments[0], Part(talk, 0, 7.6));
    cutter.Append(1, Part(talk, 7.7, 9.25));
    cutter.Finish(2);
    ASSERT_EQ(cutter.segments.size(), 2u);
    EXPECT_EQ(cutter.segments[1], Part(talk, 7.6, 9.25));
  }
}

TEST(LongAudioTest, NoSampleIsLostAndNoSegmentIsTooLong) {
  for (const int rate : {8000, 16000, 22050}) {
    for (const double seconds : {2.0, 9.99, 10.0, 61.0, 61.2345}) {
      for (const PauseRule& rule : {PauseRule(), HalfASecond()}) {
        const AudioSamples talk = Murmur(seconds, 7);
        Cutter cutter(PauseSegmenter(rule, At(rate, kLimit)));
        int64_t chunks = 0;
        for (const AudioSamples& chunk : CutUp(talk, 3, 5000)) cutter.Append(chunks++, chunk);
        cutter.Finish(chunks);
        EXPECT_EQ(Sum(cutter.segments), talk.size()) << rate << " " << seconds;
        AudioSamples joined;
        for (const AudioSamples& segment : cutter.segments) {
          EXPECT_LE(static_cast<double>(segment.size()), 10.0 * rate);
          joined.insert(joined.end(), segment.begin(), segment.end());
        }
        EXPECT_EQ(joined, talk);
      }
    }
  }
}

// No limit is so short that a cut fails.
TEST(LongAudioTest, LimitsOfAFewFramesAreKept) {
  const AudioSamples talk = Murmur(3, 5);
  for (int ms = 10; ms <= 600; ms += 10) {
    Cutter cutter(PauseSegmenter(PauseRule(), At(kRate, absl::Milliseconds(ms))));
    cutter.Append(0, talk);
    cutter.Finish(1);
    EXPECT_EQ(Sum(cutter.segments), talk.size()) << ms;
    for (const AudioSamples& segment : cutter.segments) {
      EXPECT_LE(static_cast<int>(segment.size()), std::max(ms, 20) * kRate / 1000) << ms;
    }
  }
}

TEST(LongAudioTest, ChunksAndResumesDoNotShow) {
  AudioSamples talk = Murmur(25, 1);
  AddTone(4.5, 0, &talk);  // Without pauses, 3 s of this belong to the next segment.
  const AudioSamples more = Murmur(30.003, 2);
  talk.insert(talk.end(), more.begin(), more.end());
  for (const PauseRule& rule : {PauseRule(), HalfASecond()}) {
    const auto cut = [&](const std::vector<AudioSamples>& chunks, SourcePosition at, int drops) {
      Cutter cutter(PauseSegmenter(rule, At(kRate, kLimit), {at, drops}));
      for (size_t c = static_cast<size_t>(at.chunks); c < chunks.size(); ++c) {
        cutter.Append(static_cast<int64_t>(c), chunks[c]);
      }
      cutter.Finish(static_cast<int64_t>(chunks.size()));
      return cutter;
    };
    const Cutter whole = cut({talk}, {}, 0);
    ASSERT_GE(whole.segments.size(), 6u);
    for (int seed = 1; seed <= 3; ++seed) {
      const auto chunks = CutUp(talk, seed, seed % 3 == 0 ? 300 : 40000);
      const Cutter cutter = cut(chunks, {}, 0);
      EXPECT_EQ(cutter.segments, whole.segments) << seed;
      EXPECT_EQ(cutter.begins, whole.begins) << seed;
      EXPECT_EQ(cutter.cuts, whole.cuts) << seed;
      for (size_t s = 0; s + 1 < whole.segments.size(); ++s) {
        const std::vector<AudioSamples> rest(whole.segments.begin() + s + 1, whole.segments.end());
        const std::vector<int64_t> begins(whole.begins.begin() + s + 1, whole.begins.end());
        const Cutter resumed = cut(chunks, cutter.ends[s], 0);
        EXPECT_EQ(resumed.segments, rest) << "seed " << seed << " segment " << s;
        EXPECT_EQ(resumed.begins, begins);
        const SourcePosition begin = s == 0 ? SourcePosition() : cutter.ends[s - 1];
        const Cutter dropped = cut(chunks, begin, 1);
        EXPECT_EQ(dropped.segments, rest) << "seed " << seed << " segment " << s;
        EXPECT_EQ(dropped.begins, begins);
      }
    }
  }
}

// Without pauses a segment begins with 3 s of quiet at most, and segments of quiet have no samples.
TEST(LongAudioTest, QuietIsNoSpeech) {
  AudioSamples talk;
  AddTone(2, 0.0005f, &talk);
  AddTone(1, 0.2f, &talk);
  Cutter cutter(PauseSegmenter(PauseRule(), At(kRate, kLimit)));
  cutter.Append(0, Part(talk, 0, 2));
  EXPECT_TRUE(cutter.segments.empty()) << "nobody has spoken";
  cutter.Append(1, Part(talk, 2, 3));
  ASSERT_EQ(cutter.segments.size(), 1u);
  EXPECT_EQ(cutter.segments[0], talk) << "now it is known to be the beginning of a segment";
  const auto end = cutter.segmenter.EndSegment(2);
  ASSERT_TRUE(end.has_value());
  cutter.Take(*end);
  AudioSamples quiet;
  AddTone(25, 0.0005f, &quiet);
  cutter.Append(2, quiet);
  EXPECT_EQ(cutter.segments.size(), 3u) << "two that are as long as the limit";
  EXPECT_EQ(Sum(cutter.segments), talk.size());
  EXPECT_EQ(cutter.cuts, (std::vector<bool>{false, true, true}));
  cutter.Append(3, Part(talk, 2, 3));
  ASSERT_EQ(cutter.segments.size(), 4u);
  EXPECT_EQ(cutter.segments[3].size(), 4u * kRate) << "3 s of the quiet lead in";
  cutter.Take(*cutter.segmenter.EndSegment(4));
  // The client hears of each end, also of quiet, and of none.
  cutter.Append(4, Part(talk, 0, 2));
  cutter.Take(*cutter.segmenter.EndSegment(5));
  cutter.Take(*cutter.segmenter.EndSegment(5));
  ASSERT_EQ(cutter.segments.size(), 6u);
  EXPECT_TRUE(cutter.segments[4].empty());
  EXPECT_TRUE(cutter.segments[5].empty());
  EXPECT_FALSE(cutter.segmenter.Finish(5).has_value());
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
