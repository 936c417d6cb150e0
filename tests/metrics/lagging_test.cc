#include "metrics/lagging.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace leapstream::metrics {
namespace {

using Json = nlohmann::json;

constexpr char kFolder[] = LEAPSTREAM_SOURCE_DIR "/tests/golden/simuleval/";
constexpr double kTolerance = 1e-9;  // At most 30 terms of at most 30 and their sums, in float64.

// SimulEval's count: len(text.split(" ")).
int WordsOf(const std::string& text) {
  return 1 + static_cast<int>(std::count(text.begin(), text.end(), ' '));
}

std::vector<SegmentTiming> GoldenSegments() {
  std::ifstream file(std::string(kFolder) + "instances.log");
  std::vector<SegmentTiming> segments;
  for (std::string line; std::getline(file, line);) {
    const Json info = Json::parse(line);
    segments.push_back({info.at("delays").get<std::vector<double>>(),
                        info.at("elapsed").get<std::vector<double>>(), info.at("source_length"),
                        WordsOf(info.at("reference"))});
  }
  return segments;
}

void ExpectEqual(const Lagging& got, const Json& want, const std::string& suffix) {
  EXPECT_NEAR(got.al, want.at("AL" + suffix), kTolerance);
  EXPECT_NEAR(got.laal, want.at("LAAL" + suffix), kTolerance);
  EXPECT_NEAR(got.ap, want.at("AP" + suffix), kTolerance);
  EXPECT_NEAR(got.dal, want.at("DAL" + suffix), kTolerance);
  EXPECT_NEAR(got.atd, want.at("ATD" + suffix), kTolerance);
  EXPECT_NEAR(got.start_offset, want.at("StartOffset" + suffix), kTolerance);
  EXPECT_NEAR(got.end_offset, want.at("EndOffset" + suffix), kTolerance);
}

TEST(MetricsLaggingTest, EqualsSimulEval) {
  std::ifstream file(std::string(kFolder) + "lagging.json");
  const Json golden = Json::parse(file);
  const std::vector<SegmentTiming> segments = GoldenSegments();
  ASSERT_EQ(segments.size(), 40u);
  ASSERT_EQ(golden.at("instances").size(), segments.size());
  double as_log = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    SCOPED_TRACE(i);
    const Json& want = golden["instances"][i];
    ExpectEqual(MeasureLagging(segments[i]), want, "");
    ExpectEqual(MeasureComputationAwareLagging(segments[i]), want, "_CA");
    const double atd = AverageTokenDelay(segments[i].delays, {}, kSpeechDurations);
    EXPECT_NEAR(atd, want.at("ATD_as_log"), kTolerance);
    as_log += atd;
  }
  ExpectEqual(MeanLagging(segments, /*computation_aware=*/false), golden.at("all"), "");
  ExpectEqual(MeanLagging(segments, /*computation_aware=*/true), golden.at("all"), "_CA");
  EXPECT_NEAR(as_log / 40, golden.at("all").at("ATD_as_log"), kTolerance);
}

TEST(MetricsLaggingTest, WaitKOfEqualLengthsLagsK) {
  const Lagging lagging = MeasureLagging({{3, 4, 5, 6, 6, 6}, {}, 6, 6});
  EXPECT_DOUBLE_EQ(lagging.al, 3);
  EXPECT_DOUBLE_EQ(lagging.laal, 3);
  EXPECT_DOUBLE_EQ(lagging.dal, 3);
  EXPECT_DOUBLE_EQ(*lagging.yaal, 3);
  EXPECT_DOUBLE_EQ(lagging.ap, 30.0 / 36);
  EXPECT_DOUBLE_EQ(lagging.start_offset, 3);
  EXPECT_DOUBLE_EQ(lagging.end_offset, 0);
}

TEST(MetricsLaggingTest, YaalLeavesOutWhatIsWrittenAfterTheSource) {
  EXPECT_DOUBLE_EQ(*YetAnotherAverageLagging(std::vector<double>{2, 4, 4, 4}, 4, 8), 2);
  EXPECT_DOUBLE_EQ(*YetAnotherAverageLagging(std::vector<double>{1, 3, 4}, 4, 4), (1 + 2) / 2.0);
  EXPECT_FALSE(YetAnotherAverageLagging(std::vector<double>{4, 4}, 4, 2).has_value());
  // A segment without this figure does not count in the mean.
  const std::vector<SegmentTiming> segments = {{{4, 4}, {}, 4, 2}, {{1, 2}, {}, 4, 2}};
  EXPECT_DOUBLE_EQ(*MeanLagging(segments, false).yaal, (1 + 0) / 2.0);
}

TEST(MetricsLaggingTest, NothingToMeasure) {
  for (const SegmentTiming& segment :
       {SegmentTiming{}, SegmentTiming{{}, {}, 4, 4}, SegmentTiming{{1, 2}, {1, 2}, 0, 4}}) {
    for (const Lagging& lagging :
         {MeasureLagging(segment), MeasureComputationAwareLagging(segment)}) {
      EXPECT_EQ(lagging.al, 0);
      EXPECT_EQ(lagging.atd, 0);
      EXPECT_EQ(lagging.end_offset, 0);
      EXPECT_FALSE(lagging.yaal.has_value());
    }
  }
  EXPECT_EQ(MeanLagging({}, false).al, 0);
  // Without a reference the translation's own length counts.
  EXPECT_DOUBLE_EQ(AverageLagging(std::vector<double>{1, 2, 3}, 3, 0), 1);
}

// The rows are from the official agent's own evaluation: all lengths are in pieces, </s> included.
TEST(MetricsLaggingTest, EqualsTheOfficialAgentsEvaluation) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/metrics/lagging_rows.jsonl");
  int rows = 0;
  for (std::string line; std::getline(file, line); ++rows) {
    const Json row = Json::parse(line);
    const auto delays = row.at("delays").get<std::vector<double>>();
    const double source = row.at("source_length");
    const int reference = row.at("reference_length");
    constexpr double kRounded = 5.1e-5;  // The rows have four decimals.
    EXPECT_NEAR(AverageLagging(delays, source, reference), row.at("al"), kRounded) << line;
    EXPECT_NEAR(LengthAdaptiveAverageLagging(delays, source, reference), row.at("laal"), kRounded)
        << line;
  }
  EXPECT_EQ(rows, 12);
}

}  // namespace
}  // namespace leapstream::metrics
