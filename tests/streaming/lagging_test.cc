#include "streaming/lagging.h"

#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace leapstream {
namespace {

TEST(LaggingTest, WaitKOfEqualLengthsLagsK) {
  EXPECT_DOUBLE_EQ(AverageLagging({3, 4, 5, 6, 6, 6}, 6, 6), 3);
  EXPECT_DOUBLE_EQ(AverageLagging({1, 2, 3}, 3, 3), 1);
}

TEST(LaggingTest, CountsUpToTheFirstTokenAfterTheWholeSource) {
  EXPECT_DOUBLE_EQ(AverageLagging({4, 4, 4, 4}, 4, 4), 4);
  EXPECT_DOUBLE_EQ(AverageLagging({2, 4, 4, 4}, 4, 8), (2 + 3.5) / 2);
}

TEST(LaggingTest, CountsAllWhenTheSourceIsNotReadToItsEnd) {
  EXPECT_DOUBLE_EQ(AverageLagging({2, 3}, 10, 2), (2.0 + 3 - 5) / 2);
}

TEST(LaggingTest, NothingToMeasure) {
  EXPECT_EQ(AverageLagging({}, 4, 4), 0);
  EXPECT_EQ(AverageLagging({1}, 0, 1), 0);
  EXPECT_EQ(AverageLagging({1}, 1, 0), 0);
  EXPECT_EQ(LengthAdaptiveAverageLagging({}, 4, 0), 0);
}

TEST(LaggingTest, LongHypothesesAreNotRewarded) {
  const std::vector<int> delays = {2, 3, 4, 4, 4, 4, 4, 4};
  EXPECT_GT(LengthAdaptiveAverageLagging(delays, 4, 4), AverageLagging(delays, 4, 4));
  EXPECT_EQ(LengthAdaptiveAverageLagging(delays, 4, 4), AverageLagging(delays, 4, 8));
}

// Rows of the reference's own evaluation: all lengths in pieces, </s> included.
TEST(LaggingTest, EqualsTheReference) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/streaming/lagging_rows.jsonl");
  std::string line;
  int rows = 0;
  while (std::getline(file, line)) {
    const nlohmann::json row = nlohmann::json::parse(line);
    const auto delays = row.at("delays").get<std::vector<int>>();
    const int source_length = row.at("source_length");
    const int reference_length = row.at("reference_length");
    constexpr double kRounded = 5.1e-5;  // Four decimals.
    EXPECT_NEAR(AverageLagging(delays, source_length, reference_length), row.at("al"), kRounded)
        << line;
    EXPECT_NEAR(LengthAdaptiveAverageLagging(delays, source_length, reference_length),
                row.at("laal"), kRounded)
        << line;
    ++rows;
  }
  EXPECT_EQ(rows, 12);
}

}  // namespace
}  // namespace leapstream
