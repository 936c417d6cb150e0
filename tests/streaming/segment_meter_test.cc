#include "streaming/segment_meter.h"

#include <gtest/gtest.h>

namespace leapstream {
namespace {

const SteadyTime kStart = SteadyTime(absl::Seconds(1000));

TEST(SegmentMeterTest, MeasuresTextInTokensAndInWords) {
  SegmentMeter meter({});
  meter.Begin(kStart);
  const metrics::SourceWordEnds words({2, 1, 3});
  metrics::SegmentTiming tokens, target_words;
  const auto write = [&](absl::string_view text, int read) {
    meter.RecordToken(read);
    meter.RecordText(text, read);
    tokens.delays.push_back(read);
  };
  write("one", 1);
  EXPECT_EQ(meter.RecordFirstToken(kStart + absl::Seconds(2)), absl::Seconds(2));
  write(" two", 3);      // This completes "one".
  meter.RecordToken(7);  // </s>
  tokens.delays.push_back(7);
  const SegmentStats stats = meter.Complete({7, true, 7, absl::ZeroDuration(), &words}, 2, "x");
  tokens.source_length = 7;
  target_words.delays = {2, 3};  // The words of three and of all tokens.
  target_words.source_length = 3;
  EXPECT_EQ(stats.lagging.al, metrics::MeasureLagging(tokens).al);
  ASSERT_TRUE(stats.words.has_value());
  EXPECT_EQ(stats.words->al, metrics::MeasureLagging(target_words).al);
  EXPECT_EQ(stats.words->end_offset, 0) << "</s> is of no word";
  EXPECT_FALSE(stats.computation_aware.has_value());
  EXPECT_EQ(stats.first_token, absl::Seconds(2));
  EXPECT_EQ(stats.source_tokens, 7);
  EXPECT_EQ(stats.target_tokens, 2);
}

TEST(SegmentMeterTest, PiecesHaveNoWords) {
  SegmentMeter meter({});
  meter.Begin(kStart);
  const metrics::SourceWordEnds none;
  meter.RecordToken(1);
  EXPECT_FALSE(meter.Complete({1, false, 1, {}, &none}, 1, "").words.has_value());
}

TEST(SegmentMeterTest, SpeechIsMeasuredInTimeWithAndWithoutComputation) {
  SegmentMeter meter({});
  meter.Begin(kStart);
  meter.RecordQueue(absl::Milliseconds(5));
  meter.RecordStep(absl::Milliseconds(20), absl::Milliseconds(15));
  meter.RecordToken(280);
  meter.RecordText("word ", 280);
  const SegmentStats stats =
      meter.Complete({14, true, 560, absl::Milliseconds(560), nullptr}, 1, "");
  EXPECT_EQ(stats.lagging.start_offset, 280);
  ASSERT_TRUE(stats.words.has_value());
  EXPECT_EQ(stats.words->start_offset, 280);
  ASSERT_TRUE(stats.computation_aware.has_value());
  EXPECT_EQ(stats.computation_aware->start_offset, 320);
  EXPECT_EQ(stats.words_computation_aware->start_offset, 320);
  EXPECT_EQ(stats.compute, absl::Milliseconds(20));
  EXPECT_EQ(stats.queue, absl::Milliseconds(20));
}

TEST(SegmentMeterTest, SumsGoOnFromThoseOfAnEarlierStream) {
  SessionSummary before;
  before.segments = 1;
  before.source_tokens = 10;
  before.totals.lagging.al = 5;
  SegmentMeter meter(before);
  const metrics::SourceWordEnds none;
  meter.Begin(kStart);
  meter.RecordToken(3);
  const double al = meter.Complete({4, true, 4, {}, &none}, 1, "").lagging.al;
  meter.RecordUntranslated(2);
  meter.RecordDropped(9);
  EXPECT_EQ(meter.so_far().totals.lagging.al, 5 + al) << "a sum";
  const SessionSummary summary = meter.Summary();
  EXPECT_EQ(summary.segments, 2);
  EXPECT_EQ(summary.totals.source_tokens, 14);
  EXPECT_EQ(summary.totals.lagging.al, (5 + al) / 2) << "a mean";
  EXPECT_EQ(summary.untranslated_source_tokens, 2);
  EXPECT_EQ(summary.dropped_source_bytes, 9);
}

TEST(SegmentMeterTest, ASegmentIsMeasuredFromNothing) {
  SegmentMeter meter({});
  const metrics::SourceWordEnds words({1, 1});
  double first = 0;
  for (int i = 0; i < 2; ++i) {
    meter.Begin(kStart);
    meter.RecordToken(2);
    meter.RecordText("a b", 2);
    const SegmentStats stats = meter.Complete({3, true, 3, {}, &words}, 1, "");
    if (i == 0) first = stats.words->al;
    EXPECT_EQ(stats.words->al, first);
  }
}

}  // namespace
}  // namespace leapstream
