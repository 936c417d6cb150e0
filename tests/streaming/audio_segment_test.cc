#include "streaming/audio_segment.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using Next = SegmentSource::Next;

constexpr int kRead = 4480;  // The samples of a READ, 280 ms.

class AudioSegmentTest : public testing::Test {
 protected:
  AudioSegmentTest() {
    FakeModelOptions speech;
    speech.speech = true;
    model_ = FakeModel(speech);
  }
  std::unique_ptr<SegmentSource> Make() {
    absl::StatusOr<std::unique_ptr<SegmentSource>> segment =
        SegmentSource::Create(options_, *model_, Frame(), ResumeFrom());
    EXPECT_TRUE(segment.ok()) << segment.status();
    (*segment)->Open();
    return *std::move(segment);
  }
  void Append(SegmentSource& segment, size_t samples) {
    EXPECT_TRUE(segment.Append(AudioSamples(samples, 1.0f), {}, &work_).ok());
  }
  // The samples of the next READ.
  size_t Read(SegmentSource& segment) {
    segment.ForgetReads();
    last_ = *segment.NextRead(&work_);
    return segment.due_rows(nullptr).samples.size();
  }

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  int64_t work_ = 0;
  Next last_ = Next::kNone;
};

TEST_F(AudioSegmentTest, ReadsWholeStepsThenTheRestThenItsEnd) {
  const auto segment = Make();
  Append(*segment, 100);
  EXPECT_EQ(Read(*segment), 0u);
  EXPECT_EQ(last_, Next::kWaits);
  Append(*segment, kRead + 200);
  EXPECT_EQ(Read(*segment), size_t{kRead});
  EXPECT_EQ(segment->progress().source_read, 1);
  EXPECT_EQ(segment->audio_given(), absl::Milliseconds(280));
  EXPECT_EQ(segment->Delay(7), 280) << "delays are of time, whatever was read";
  EXPECT_EQ(Read(*segment), 0u);
  EXPECT_EQ(last_, Next::kWaits);
  segment->Close();
  EXPECT_EQ(Read(*segment), 300u);
  EXPECT_FALSE(segment->finished());
  EXPECT_EQ(Read(*segment), 0u);
  EXPECT_EQ(last_, Next::kRead) << "of the end";
  EXPECT_EQ(segment->due_reads(), 1);
  EXPECT_TRUE(segment->finished());
  Read(*segment);
  EXPECT_EQ(last_, Next::kNone);
  EXPECT_FALSE(segment->is_empty());
  const SourceLeft left = segment->Leave(8);
  EXPECT_FALSE(left.dropped);
  EXPECT_EQ(left.dropped_bytes, 0);
}

TEST_F(AudioSegmentTest, LessThanAnEncoderStateIsNothing) {
  const auto segment = Make();
  Append(*segment, 399);
  segment->Close();
  while (!segment->finished()) Read(*segment);
  EXPECT_TRUE(segment->is_empty());
  EXPECT_FALSE(segment->Leave(0).dropped);
}

TEST_F(AudioSegmentTest, ALimitCutsItAndTheRestIsDropped) {
  options_.max_source_tokens = 10;  // A source token has 640 samples.
  const auto segment = Make();
  Append(*segment, 6400);
  EXPECT_EQ(Read(*segment), size_t{kRead});
  EXPECT_FALSE(segment->cut());
  Append(*segment, 50);
  EXPECT_EQ(Read(*segment), size_t{6400 - kRead});
  EXPECT_TRUE(segment->cut());
  EXPECT_EQ(Read(*segment), 0u);
  EXPECT_TRUE(segment->finished());
  const SourceLeft left = segment->Leave(10);
  EXPECT_TRUE(left.at_limit);
  EXPECT_TRUE(left.dropped);
  EXPECT_EQ(left.dropped_bytes, 200);
}

TEST_F(AudioSegmentTest, OtherRatesAreResampledAndCountedAsWork) {
  options_.sample_rate = 8000;
  const auto segment = Make();
  Append(*segment, 8000);
  EXPECT_LT(work_, -8000);
  segment->Close();
  size_t samples = 0;
  while (!segment->finished()) samples += Read(*segment);
  EXPECT_NEAR(static_cast<double>(samples), 16000, 160);
  options_.sample_rate = 1;
  EXPECT_EQ(SegmentSource::Create(options_, *model_, Frame(), ResumeFrom()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(AudioSegmentTest, TextIsRefused) {
  EXPECT_EQ(Make()->Append(std::string("text"), {}, &work_).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leapstream
