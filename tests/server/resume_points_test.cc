#include "server/rpc/resume_points.h"

#include <vector>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

SegmentCompleted Completed(int64_t segment) {
  SegmentCompleted completed;
  completed.segment = segment;
  completed.so_far.segments = segment;
  return completed;
}

ResumePoint Start(int64_t segment, SourcePosition source) {
  ResumePoint start;
  start.segment = segment;
  start.source = source;
  return start;
}

void ExpectPoint(const ResumePoint& point, int64_t segment, int64_t chunks, int64_t samples = 0,
                 int skipped = 0) {
  EXPECT_EQ(point.segment, segment);
  EXPECT_EQ(point.source.chunks, chunks);
  EXPECT_EQ(point.source.samples, samples);
  EXPECT_EQ(point.skipped, skipped);
}

TEST(ResumePointsTest, ASegmentEndsAtTheChunkBeforeItsEnd) {
  ResumePoints points;
  points.Start(Start(1, {}), ResumePoints::Source::kText);
  points.TakeChunk();
  points.TakeChunk();
  points.EndSegment();
  points.TakeChunk();  // It belongs to segment 2, which has begun before 1 is complete.
  EXPECT_EQ(points.chunks(), 3);
  const ResumePoint point = points.AfterSegment(Completed(1));
  ExpectPoint(point, 2, 2);
  EXPECT_EQ(point.before.segments, 1);
}

TEST(ResumePointsTest, ATranslationThatEndedEarlyTakesAllChunksSoFar) {
  ResumePoints points;
  points.Start(Start(1, {}), ResumePoints::Source::kText);
  for (int i = 0; i < 3; ++i) points.TakeChunk();
  ExpectPoint(points.AfterSegment(Completed(1)), 2, 3);
  // The source of segment 1 goes on and ends after that. Segment 2 begins there.
  points.TakeChunk();
  points.EndSegment();
  points.TakeChunk();
  points.EndSegment();
  ExpectPoint(points.AfterSegment(Completed(2)), 3, 5);
}

TEST(ResumePointsTest, AResumedStreamCountsOn) {
  ResumePoints points;
  points.Start(Start(7, {20, 0}), ResumePoints::Source::kText);
  EXPECT_EQ(points.chunks(), 20);
  points.TakeChunk();
  points.EndSegment();
  points.TakeChunk();
  ExpectPoint(points.AfterSegment(Completed(7)), 8, 21);
}

TEST(ResumePointsTest, SourceThatIsLeftBeginsTheNextSegment) {
  ResumePoints points;
  points.Start(Start(1, {}), ResumePoints::Source::kText);
  points.TakeChunk();
  points.TakeChunk();
  points.EndSegment();  // The end of segment 1. Segment 2 takes the rest, and this end.
  SegmentCompleted continued = Completed(1);
  continued.continues_at = SourcePosition{1, 12};
  continued.continues_in_text = true;
  continued.continues_after_tokens = 3;
  const ResumePoint within = points.AfterSegment(continued);
  ExpectPoint(within, 2, 1, 12, 3);
  EXPECT_TRUE(within.in_text);
  points.TakeChunk();
  const ResumePoint after = points.AfterSegment(Completed(2));
  ExpectPoint(after, 3, 2);
  EXPECT_FALSE(after.in_text);
}

// Where sentences end segments, a resume begins with a sentence, of which a part may be complete.
TEST(ResumePointsTest, ASegmentWithinASentenceIsResumedFromTheSentencesBeginning) {
  ResumePoints points;
  points.Start(Start(4, {2, 7}), ResumePoints::Source::kText);
  points.set_by_sentences();
  points.TakeChunk();
  points.EndSegmentAt({2, 30}, true);
  points.TakeChunk();
  ResumePoint point = points.AfterSegment(Completed(4));
  ExpectPoint(point, 5, 2, 30);
  EXPECT_TRUE(point.continues);
  EXPECT_FALSE(point.begin.has_value());
  SegmentCompleted continued = Completed(5);
  continued.continues_at = SourcePosition{3, 12};
  point = points.AfterSegment(continued);
  ExpectPoint(point, 6, 2, 30);
  EXPECT_TRUE(point.continues);
  ASSERT_TRUE(point.begin.has_value());
  EXPECT_EQ(point.begin->chunks, 3);
  EXPECT_EQ(point.begin->samples, 12);
  points.EndSegment();  // The client's, of the segment that began at chunk 2.
  point = points.AfterSegment(Completed(6));
  ExpectPoint(point, 7, 4);
  EXPECT_FALSE(point.continues);
  EXPECT_FALSE(point.begin.has_value());
}

TEST(ResumePointsTest, AnOlderPointIsNotRecorded) {
  ResumePoints points;
  points.Start(Start(1, {}), ResumePoints::Source::kText);
  EXPECT_TRUE(points.Record(Start(3, {5, 0})));
  EXPECT_FALSE(points.Record(Start(2, {9, 0})));
  EXPECT_FALSE(points.Record(Start(3, {4, 0})));
  EXPECT_TRUE(points.Record(Start(3, {5, 0}))) << "a refresh";
  EXPECT_TRUE(points.Record(Start(3, {5, 1})));
  ExpectPoint(points.latest(), 3, 5, 1);
}

// Audio of 1 kHz in chunks of 100 ms, which the server cuts at pauses of 300 ms.
class PausesTest : public testing::Test {
 protected:
  static constexpr int kRate = 1000;
  PausesTest() : segmenter_(Rule(), {kRate, absl::InfiniteDuration()}) {
    points_.Start(Start(1, {}), ResumePoints::Source::kAudioWithPauses,
                  /*samples_per_point=*/2 * kRate);
    points_.Record(Start(1, {}));
  }
  static PauseRule Rule() {
    PauseRule rule;
    rule.duration = absl::Milliseconds(300);
    return rule;
  }
  // Pushes chunks that are loud or quiet. Returns the last point that was due.
  std::optional<ResumePoint> Push(int chunks, bool loud) {
    std::optional<ResumePoint> last;
    for (int i = 0; i < chunks; ++i) {
      const int64_t before = points_.chunks();
      points_.TakeChunk();
      const AudioSamples samples(100, loud ? 10000.0f : 0.0f);
      for (const PauseSegmenter::Part& part : segmenter_.Append(before, samples)) {
        if (part.ends_segment) points_.EndSegmentAt(part.end, part.is_cut);
      }
      if (const auto point = points_.AfterAudio(segmenter_, 100); point.has_value()) {
        EXPECT_TRUE(points_.Record(*point));
        last = point;
      }
    }
    return last;
  }

  PauseSegmenter segmenter_;
  ResumePoints points_;
};

TEST_F(PausesTest, HoursOfQuietNeedNotBeKept) {
  const auto point = Push(600, false);
  ASSERT_TRUE(point.has_value());
  EXPECT_EQ(point->segment, 1);
  EXPECT_GT(point->source.chunks, 550);
}

TEST_F(PausesTest, AnOpenSegmentIsKeptWhole) {
  Push(40, false);
  const SourcePosition before = points_.latest().source;
  EXPECT_FALSE(Push(400, true).has_value());
  EXPECT_EQ(points_.latest().source.chunks, before.chunks);
}

TEST_F(PausesTest, ASegmentEndsInItsPause) {
  Push(20, true);
  Push(10, false);
  const ResumePoint point = points_.AfterSegment(Completed(1));
  EXPECT_EQ(point.segment, 2);
  EXPECT_EQ(point.skipped, 0);
  EXPECT_GE(point.source.chunks, 20);
}

// The translation is complete while somebody still speaks.
TEST_F(PausesTest, OfACompleteSegmentOnlyItsEndIsWaitedFor) {
  Push(20, true);
  const ResumePoint early = points_.AfterSegment(Completed(1));
  ExpectPoint(early, 2, 0, 0, 1);
  EXPECT_TRUE(points_.Record(early));
  EXPECT_FALSE(Push(100, true).has_value()) << "where it ends depends on its beginning";
  const auto quiet = Push(10, false);
  ASSERT_TRUE(quiet.has_value());
  EXPECT_EQ(quiet->segment, 2);
  EXPECT_EQ(quiet->skipped, 0) << "its end has been found";
}

// Audio without pauses: segments end at cuts, and where the client ends them.
class CutsTest : public testing::Test {
 protected:
  CutsTest() { points_.Start(Start(1, {}), ResumePoints::Source::kAudio); }
  ResumePoint Early(int64_t segment) {
    SegmentCompleted completed = Completed(segment);
    completed.ended_early = true;
    const ResumePoint point = points_.AfterSegment(completed);
    EXPECT_TRUE(points_.Record(point));
    return point;
  }
  ResumePoints points_;
};

TEST_F(CutsTest, ACutSegmentContinuesAndOneThatTheClientEndsDoesNot) {
  for (int i = 0; i < 5; ++i) points_.TakeChunk();
  points_.EndSegmentAt({2, 30, 230}, true);
  points_.EndSegmentAt({5, 0, 500}, false);
  ResumePoint point = points_.AfterSegment(Completed(1));
  ExpectPoint(point, 2, 2, 30);
  EXPECT_EQ(point.source.audio, 230);
  EXPECT_TRUE(point.continues);
  point = points_.AfterSegment(Completed(2));
  ExpectPoint(point, 3, 5);
  EXPECT_EQ(point.source.audio, 500);
  EXPECT_FALSE(point.continues);
}

// Whether the end has come already does not show.
TEST_F(CutsTest, ATranslationThatEndedEarlyIsFollowedByASegmentInAnyCase) {
  points_.TakeChunk();
  ResumePoint point = Early(1);
  ExpectPoint(point, 2, 0, 0, 1);
  EXPECT_TRUE(point.continues);
  points_.TakeChunk();
  points_.EndSegmentAt({1, 50}, true);
  point = Early(2);  // Its end has not come.
  ExpectPoint(point, 3, 1, 50, 1);
  EXPECT_TRUE(point.continues);
  points_.EndSegmentAt({2, 0}, false);  // The client's, of segment 2, and of an empty one, 3.
  point = points_.AfterSegment(Completed(3));
  ExpectPoint(point, 4, 2);
  EXPECT_FALSE(point.continues);
  points_.TakeChunk();
  points_.EndSegmentAt({3, 0}, false);
  point = Early(4);  // Its end has come.
  ExpectPoint(point, 5, 3);
  EXPECT_TRUE(point.continues);
  point = points_.AfterSegment(Completed(5));
  ExpectPoint(point, 6, 3);
  EXPECT_FALSE(point.continues);
  points_.TakeChunk();
  points_.EndSegmentAt({4, 0}, false);
  ExpectPoint(points_.AfterSegment(Completed(6)), 7, 4);
}

}  // namespace
}  // namespace leapstream
