#include "client/cli/pause_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace leapstream::client {
namespace {

constexpr int kRate = 16000;

void AddTone(double seconds, float level, std::vector<float>* samples) {
  for (int i = 0; i < seconds * kRate; ++i) {
    samples->push_back(level * static_cast<float>(std::sin(0.3 * i)));
  }
}

TEST(PauseDetectorTest, FindsPausesAfterSpeechHoweverTheAudioIsCut) {
  std::vector<float> samples;
  AddTone(1, 0, &samples);       // Silence at the start is no pause.
  AddTone(1, 0.5f, &samples);    // Ends at 2 s,
  AddTone(1, 0.001f, &samples);  // so that 500 ms are over at 2.5 s.
  AddTone(1, 0.2f, &samples);
  AddTone(0.3, 0, &samples);   // Too short.
  AddTone(1, 0.2f, &samples);  // Ends at 5.3 s.
  AddTone(2, 0, &samples);
  const std::vector<size_t> expected = {static_cast<size_t>(2.5 * kRate),
                                        static_cast<size_t>(5.8 * kRate)};
  PauseDetector whole(kRate, absl::Milliseconds(500));
  const std::vector<size_t> found = whole.Append(samples);
  ASSERT_EQ(found.size(), 2u);
  // A tone may cross the threshold within a frame.
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(found[i], expected[i], kRate / 100);
  for (int seed = 1; seed <= 5; ++seed) {
    std::mt19937 random(seed);
    PauseDetector detector(kRate, absl::Milliseconds(500));
    std::vector<size_t> cut;
    for (size_t begin = 0; begin < samples.size();) {
      const size_t count = std::min<size_t>(random() % 3000, samples.size() - begin);
      for (const size_t at : detector.Append({samples.data() + begin, count})) {
        cut.push_back(begin + at);
      }
      begin += count;
    }
    EXPECT_EQ(cut, found) << "seed " << seed;
  }
}

}  // namespace
}  // namespace leapstream::client
