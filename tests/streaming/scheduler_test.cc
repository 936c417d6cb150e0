#include "streaming/scheduler.h"

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

constexpr char kText[] = "the quick brown fox jumps over the lazy dog";

std::string Translate(Scheduler& scheduler, const SessionOptions& options,
                      const std::vector<std::string>& chunks) {
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  EXPECT_TRUE(session.ok()) << session.status();
  for (const std::string& chunk : chunks) (*session)->Push(chunk);
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok()) << sink.status;
  EXPECT_EQ(1u, sink.segments.size());
  EXPECT_EQ(sink.appended[0], sink.segments[0].text) << "text is only appended";
  return sink.segments[0].text;
}

TEST(SchedulerTest, AnyChunkingGivesTheSameOutput) {
  Scheduler scheduler(FakeModel());
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
    SessionOptions options;
    options.early_end = early_end;
    const std::string text = kText;
    const std::string whole = Translate(scheduler, options, {text});
    EXPECT_FALSE(whole.empty());
    std::mt19937 random(3);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::string> chunks;
      for (size_t at = 0; at < text.size();) {
        const size_t size = random() % 4;
        chunks.push_back(text.substr(at, size));
        at += size;
      }
      EXPECT_EQ(whole, Translate(scheduler, options, chunks)) << "round " << round;
    }
  }
}

TEST(SchedulerTest, SegmentsFollowEachOtherAndAnEmptyOneCompletesAtOnce) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  ASSERT_TRUE(session.ok());
  (*session)->EndSegment();
  (*session)->Push("  \t ");
  (*session)->EndSegment();
  (*session)->Push(kText);
  (*session)->EndSegment();
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_TRUE(sink.status.ok()) << sink.status;
  ASSERT_EQ(4u, sink.segments.size());
  EXPECT_EQ("", sink.segments[0].text);
  EXPECT_EQ("", sink.segments[1].text);
  EXPECT_NE("", sink.segments[2].text);
  EXPECT_EQ(sink.segments[2].text, sink.segments[3].text)
      << "nothing of a segment is left in the next";
  for (int i = 0; i < 4; ++i) EXPECT_EQ(i + 1, sink.segments[i].segment);
  EXPECT_EQ(4, sink.summary.segments);
}

TEST(SchedulerTest, NothingSentIsNothingTranslated) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  auto session = scheduler.Open({}, &sink);
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok());
  EXPECT_TRUE(sink.segments.empty());
}

TEST(SchedulerTest, TargetLengthIsLimitedInTokens) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.max_target_tokens = 3;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(1u, sink.segments.size());
  EXPECT_EQ(FinishReason::kMaxLength, sink.segments[0].reason);
  EXPECT_EQ(3u, sink.tokens.size());
}

TEST(SchedulerTest, SourceLengthIsLimitedAndTheStreamGoesOn) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  options.early_end = EarlyEnd::kReadOn;
  options.max_source_tokens = 4;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  (*session)->Push(kText);
  (*session)->EndSegment();
  (*session)->Push("a ");
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(2u, sink.segments.size());
  EXPECT_EQ(FinishReason::kSourceLimit, sink.segments[0].reason);
  EXPECT_EQ(4, sink.segments[0].stats.source_tokens);
}

TEST(SchedulerTest, BadInputEndsOneSessionAndNoOther) {
  Scheduler scheduler(FakeModel());
  CollectingSink bad, ids, good;
  auto one = scheduler.Open({}, &bad);
  auto two = scheduler.Open({}, &ids);
  auto three = scheduler.Open({}, &good);
  (*three)->Push(kText);
  (*one)->Push(std::string("caf\xc3 au lait "));
  (*two)->Push(std::vector<TokenId>{4, 1 << 30});
  bad.Wait();
  ids.Wait();
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, bad.status.code());
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, ids.status.code());
  (*one)->Push("after the end");
  (*three)->EndSource();
  good.Wait();
  EXPECT_TRUE(good.status.ok());
}

TEST(SchedulerTest, OptionsOutOfRangeAreRefused) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  SessionOptions options;
  options.policy = WaitK{0};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
  options = {};
  options.policy = WaitK{3, 0};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
  options = {};
  options.max_length_a = -1;
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
}

// Whatever the chunks, a learned policy reads and writes in the same places.
TEST(SchedulerTest, ALearnedPolicyReadsWhatItWantsAndNoMore) {
  FakeModelOptions options;
  options.learned_policy = true;
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
    std::vector<std::vector<int>> delays;
    for (const size_t chunk : {size_t{1}, size_t{7}, size_t{1000}}) {
      Scheduler scheduler(FakeModel(options));
      CollectingSink sink;
      SessionOptions session_options;
      session_options.policy = Learned();
      session_options.early_end = early_end;
      auto session = scheduler.Open(session_options, &sink);
      ASSERT_TRUE(session.ok()) << session.status();
      const std::string text = kText;
      for (size_t i = 0; i < text.size(); i += chunk) (*session)->Push(text.substr(i, chunk));
      (*session)->EndSource();
      sink.Wait();
      ASSERT_TRUE(sink.status.ok()) << sink.status;
      delays.emplace_back();
      for (const TargetToken& token : sink.tokens)
        delays.back().push_back(token.source_tokens_read);
    }
    EXPECT_EQ(delays[0], delays[1]);
    EXPECT_EQ(delays[0], delays[2]);
    EXPECT_FALSE(delays[0].empty());
    EXPECT_TRUE(std::is_sorted(delays[0].begin(), delays[0].end()));
  }
}

TEST(SchedulerTest, ASegmentHasOneFormOfSource) {
  Scheduler scheduler(FakeModel());
  CollectingSink mixed, separate;
  auto one = scheduler.Open({}, &mixed);
  (*one)->Push(std::string("abc "));
  (*one)->Push(std::vector<TokenId>{5});
  mixed.Wait();
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, mixed.status.code());
  auto two = scheduler.Open({}, &separate);
  (*two)->Push(std::string("abc "));
  (*two)->EndSegment();
  (*two)->Push(std::vector<TokenId>{5});
  (*two)->EndSource();
  separate.Wait();
  EXPECT_TRUE(separate.status.ok()) << separate.status;
  EXPECT_EQ(2u, separate.segments.size());
}

TEST(SchedulerTest, CancelledSessionsAndTheSchedulersEndAreFinal) {
  CollectingSink cancelled, cut;
  {
    Scheduler scheduler(FakeModel());
    auto one = scheduler.Open({}, &cancelled);
    auto two = scheduler.Open({}, &cut);
    (*one)->Push(kText);
    (*one)->Cancel(absl::CancelledError("enough"));
    cancelled.Wait();
    EXPECT_EQ(absl::StatusCode::kCancelled, cancelled.status.code());
    (*two)->Push(kText);
  }
  cut.Wait();
  EXPECT_EQ(absl::StatusCode::kUnavailable, cut.status.code());
}

TEST(SchedulerTest, ABatchGivesWhatItsMembersGiveAlone) {
  Scheduler scheduler(FakeModel());
  const std::string alone = Translate(scheduler, {}, {kText});
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 10; ++round) EXPECT_EQ(alone, Translate(scheduler, {}, {kText}));
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace leapstream
