#include "client/resume_log.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SteadyTime At(double seconds) { return SteadyTime(absl::Seconds(seconds)); }

void Begin(ResumeLog& log, SteadyTime now = At(0)) {
  v1::SessionStarted started;
  started.mutable_effective_config()->set_model("applied");
  Started event;
  event.session_id = "id";
  log.Take(started, event, now);
}

// A delta with one token, which read as many source tokens as its id.
Delta Text(const std::string& text, int id) {
  Delta delta;
  delta.text = text;
  Token token;
  token.id = token.source_tokens_read = id;
  token.emit_offset = absl::Seconds(id);
  delta.tokens = {token};
  return delta;
}

v1::ResumePoint Point(int64_t segment, const std::string& token, int64_t consumed = 0) {
  v1::ResumePoint point;
  point.set_segment(segment);
  point.set_resume_token(token);
  point.set_consumed_source_sequence(consumed);
  return point;
}

SegmentCompleted Completed(int64_t segment, const std::string& text) {
  SegmentCompleted completed;
  completed.segment = segment;
  completed.text = text;
  return completed;
}

std::string Sent(ResumeLog& log) {
  std::string text;
  while (const auto message = log.source().Next()) {
    text += message->sequence == 0 ? "|" : message->text;
  }
  return text;
}

TEST(ResumeLogTest, TheFirstCallAsksForWhatTheUserWants) {
  StreamOptions options;
  options.model = "wanted";
  ResumeLog log(options);
  EXPECT_FALSE(log.begun());
  EXPECT_TRUE(log.resumable());  // Nothing was shown.
  const v1::SessionConfig config = log.BeginCall();
  EXPECT_EQ(config.model(), "wanted");
  EXPECT_FALSE(config.has_resume());
  EXPECT_TRUE(config.output().token_details());  // A resume begins with the tokens.
  options.resume_timeout = absl::ZeroDuration();
  EXPECT_FALSE(ResumeLog(options).BeginCall().output().token_details());
}

TEST(ResumeLogTest, ANextServerIsToldWhatTheFirstAppliedAndCommitted) {
  ResumeLog log{StreamOptions()};
  log.source().Append("one ");
  log.source().Append("two ");
  log.BeginCall();
  EXPECT_EQ(Sent(log), "one two ");
  Begin(log);
  log.Take(Point(1, "token"));
  EXPECT_EQ(log.Take(Text("eins ", 7))->sequence, 1);
  EXPECT_EQ(log.Take(Text("zwei ", 8))->sequence, 2);
  log.EndCall();
  ASSERT_TRUE(log.resumable());
  const v1::SessionConfig config = log.BeginCall();
  EXPECT_EQ(config.model(), "applied");
  EXPECT_EQ(config.resume().session_id(), "id");
  EXPECT_EQ(config.resume().resume_token(), "token");
  EXPECT_EQ(config.resume().next_source_sequence(), 1);
  EXPECT_THAT(config.resume().committed_target().ids(), ElementsAre(7, 8));
  EXPECT_THAT(config.resume().committed_source_tokens_read(), ElementsAre(7, 8));
  EXPECT_EQ(Sent(log), "one two ");
}

TEST(ResumeLogTest, TextThatNoTokenResumesCannotGoOn) {
  ResumeLog log{StreamOptions()};
  Begin(log);
  log.Take(Text("eins ", 7));
  EXPECT_FALSE(log.resumable());
  log.Take(Point(1, "token"));
  EXPECT_TRUE(log.resumable());
}

TEST(ResumeLogTest, ACompleteSegmentIsNotSentAgain) {
  ResumeLog log{StreamOptions()};
  Begin(log);
  log.source().Append("one");
  log.source().EndSegment();
  log.source().Append("two");
  EXPECT_EQ(Sent(log), "one|two");
  log.Take(Point(1, "first"));
  log.Take(Text("eins", 1));
  log.Take(Point(2, "second"));  // Comes before the end of the first.
  ASSERT_TRUE(log.Complete(Completed(1, "eins")).ok());
  EXPECT_TRUE(log.resumable());
  const v1::SessionConfig config = log.BeginCall();
  EXPECT_EQ(config.resume().resume_token(), "second");
  EXPECT_FALSE(config.resume().has_committed_target());
  EXPECT_EQ(Sent(log), "two");
}

TEST(ResumeLogTest, ThePointOfASegmentThatDidNotComeIsForgotten) {
  ResumeLog log{StreamOptions()};
  Begin(log);
  log.Take(Point(1, "first"));
  log.Take(Text("eins", 1));
  log.Take(Point(2, "second"));
  log.EndCall();
  EXPECT_EQ(log.BeginCall().resume().resume_token(), "first");
  ASSERT_TRUE(log.Complete(Completed(1, "eins")).ok());
  EXPECT_FALSE(log.BeginCall().has_resume());
}

TEST(ResumeLogTest, TextThatOnlyTheEndMakesCompleteIsHeldBack) {
  ResumeLog log{StreamOptions()};
  Begin(log);
  log.Take(Point(1, "token"));
  log.Take(Text("eins", 1));
  Delta rest;
  rest.text = "!";
  EXPECT_FALSE(log.Take(rest).has_value());
  log.EndCall();  // It is lost with the call, and comes again.
  EXPECT_FALSE(log.TakeRest().has_value());
  EXPECT_FALSE(log.Take(rest).has_value());
  const auto shown = log.TakeRest();
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(shown->text, "!");
  EXPECT_EQ(shown->sequence, 2);
  EXPECT_TRUE(log.Complete(Completed(1, "eins!")).ok());
}

TEST(ResumeLogTest, ATextThatIsNotThatOfItsDeltasIsAFault) {
  ResumeLog log{StreamOptions()};
  Begin(log);
  log.Take(Text("eins", 1));
  EXPECT_THAT(std::string(log.Complete(Completed(1, "zwei")).message()),
              HasSubstr("ended segment 1 with another text than that of its deltas"));
  EXPECT_THAT(std::string(log.Complete(Completed(2, "eins")).message()),
              HasSubstr("segment 1 was open"));
}

TEST(ResumeLogTest, TokensAreShownOnlyToThoseWhoWantThemAndCountFromTheFirstStart) {
  StreamOptions options;
  options.token_details = true;
  ResumeLog log(options);
  Begin(log, At(10));
  EXPECT_EQ(log.Take(Text("eins", 1))->tokens.at(0).emit_offset, absl::Seconds(1));
  Begin(log, At(15));  // Another server.
  EXPECT_EQ(log.Take(Text("zwei", 2))->tokens.at(0).emit_offset, absl::Seconds(7));
  ResumeLog plain{StreamOptions()};
  Begin(plain);
  EXPECT_TRUE(plain.Take(Text("eins", 1))->tokens.empty());
  EXPECT_FALSE(plain.Take(Text("", 1)).has_value());  // Nothing is left to see.
}

TEST(ResumeLogTest, SegmentsThatPausesEndKeepTheSourceThatNoPointCovers) {
  StreamOptions options;
  options.audio = AudioFormat::kPcmS16Le;
  ResumeLog log(options);
  v1::SessionStarted started;
  auto* const pauses = started.mutable_effective_config()->mutable_pause_detection();
  pauses->mutable_min_duration()->set_seconds(1);
  Started event;
  event.session_id = "id";
  log.Take(started, event, At(0));
  for (const char* chunk : {"aa", "bb", "cc"}) log.source().Append(chunk);
  EXPECT_EQ(Sent(log), "aabbcc");
  log.Take(Point(1, "first", /*consumed=*/1));
  log.Take(Point(2, "second", /*consumed=*/2));
  log.Take(Text("eins", 1));
  ASSERT_TRUE(log.Complete(Completed(1, "eins")).ok());
  EXPECT_EQ(log.BeginCall().resume().next_source_sequence(), 3);
  EXPECT_EQ(Sent(log), "cc");
}

}  // namespace
}  // namespace leapstream::client
