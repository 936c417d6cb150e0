// Limits of time, length, memory and sessions, and drains.
#include <thread>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "tests/server/server_fixture.h"

namespace leapstream {
namespace {

TEST_F(ServerTest, AFullServerRefusesAtOnceAndServesOn) {
  ServerOptions options;
  options.max_sessions = 3;
  Start({FakeModel()}, options);
  EXPECT_EQ(server_->max_sessions(), 3);
  std::vector<std::unique_ptr<OpenStream>> open;
  for (int i = 0; i < 3; ++i) {
    open.push_back(std::make_unique<OpenStream>(*stub_, std::vector<Request>{Config()}));
    ASSERT_TRUE(open.back()->ReadUntil(IsStarted));
  }
  for (int i = 0; i < 20; ++i) {
    const absl::Time start = absl::Now();
    OpenStream refused(*stub_, {Config()});
    const grpc::Status status = refused.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(Reason(status), "SERVER_FULL");
    EXPECT_EQ(RetryDelay(status), absl::Seconds(1));
    EXPECT_LT(absl::Now() - start, absl::Milliseconds(500));
  }
  v1::TranslateRequest request;
  v1::TranslateResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(stub_->Translate(&context, request, &response)), "SERVER_FULL");
  std::string health;
  ASSERT_TRUE(CallRaw("/grpc.health.v1.Health/Check", "", &health).ok());
  EXPECT_EQ(health, "\x08\x01") << "full is not unready";
  // A session that is cancelled gives its place back.
  open.back()->context.TryCancel();
  EXPECT_EQ(open.back()->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  bool served = false;
  while (!served && absl::Now() < deadline) served = Run({Config(), Text(kText)}).status.ok();
  EXPECT_TRUE(served);
  for (auto& stream : open) stream->stream->WritesDone();
  EXPECT_TRUE(open[0]->Finish().ok());
}

TEST_F(ServerTest, TimeLimits) {
  ServerOptions options;
  options.limits.config_timeout = absl::Milliseconds(100);
  options.limits.idle_timeout = absl::Milliseconds(600);
  options.limits.heartbeat_interval = absl::Milliseconds(50);
  Start({FakeModel()}, options);
  OpenStream silent(*stub_, {});
  grpc::Status status = silent.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "CONFIG_TIMEOUT");

  OpenStream idle(*stub_, {Config()});
  ASSERT_TRUE(idle.ReadUntil(IsStarted));
  EXPECT_EQ(idle.started.limits().idle_timeout().nanos(), 600000000);
  EXPECT_EQ(idle.started.effective_config().idle_timeout().nanos(), 600000000);
  EXPECT_TRUE(idle.ReadUntil([](const Response& response) { return response.has_heartbeat(); }));
  status = idle.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "IDLE_TIMEOUT");

  Request config = Config();
  config.mutable_config()->mutable_idle_timeout()->set_seconds(3600);
  OpenStream clamped(*stub_, {config});
  ASSERT_TRUE(clamped.ReadUntil(IsStarted));
  EXPECT_EQ(clamped.started.limits().idle_timeout().nanos(), 600000000);
  config.mutable_config()->mutable_idle_timeout()->set_seconds(0);
  config.mutable_config()->mutable_idle_timeout()->set_nanos(50000000);
  OpenStream shorter(*stub_, {config});
  const absl::Time start = absl::Now();
  EXPECT_EQ(Reason(shorter.Finish()), "IDLE_TIMEOUT");
  // This is less than the server's own limit, with the second look that both have.
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(600) + LastLook::kGrace);

  // keep_alive is activity: heartbeats say when to send the next one.
  OpenStream kept(*stub_, {Config()});
  const absl::Time begin = absl::Now();
  while (absl::Now() - begin < absl::Milliseconds(1500)) {
    ASSERT_TRUE(kept.ReadUntil([](const Response& response) { return response.has_heartbeat(); }));
    kept.stream->Write(KeepAlive());
  }
  kept.stream->WritesDone();
  EXPECT_TRUE(kept.Finish().ok());
}

TEST_F(ServerTest, MaximumDurationIsAnnouncedAndTheSegmentEnds) {
  ServerOptions options;
  options.limits.max_session_duration = absl::Milliseconds(800);
  Start({FakeModel()}, options);
  const auto going_away = [](const Response& response) { return response.has_going_away(); };
  OpenStream closing(*stub_, {Config(), Text(kText)}), staying(*stub_, {Config(), Text(kText)});
  ASSERT_TRUE(closing.ReadUntil(going_away));
  EXPECT_EQ(closing.last.going_away().reason(), v1::GOING_AWAY_REASON_MAX_DURATION);
  EXPECT_GT(closing.last.going_away().remaining_duration().nanos(), 0);
  closing.stream->Write(EndSegment());
  const grpc::Status status = closing.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "MAX_DURATION");
  EXPECT_EQ(closing.completed, Run({Config(), Text(kText)}).segments);
  EXPECT_EQ(closing.started.limits().max_session_duration().nanos(), 800000000);
  EXPECT_EQ(Reason(staying.Finish()), "MAX_DURATION");
  EXPECT_TRUE(staying.completed.empty());
}

TEST_F(ServerTest, LengthLimitsCloseTheSegmentAndTheStreamGoesOn) {
  ServerOptions options;
  options.limits.max_source_tokens = 5;
  options.limits.max_target_tokens = 4;
  Start({FakeModel()}, options);
  Request config = Config(1);
  config.mutable_config()->mutable_policy()->set_early_end(v1::EARLY_END_SUPPRESS);
  OpenStream stream(*stub_, {config, Text(kText), EndSegment(), Text("a"), EndSegment()});
  std::vector<v1::FinishReason> reasons;
  const auto collect = [&](const Response& response) {
    if (response.has_segment_completed()) {
      reasons.push_back(response.segment_completed().finish_reason());
    }
    return reasons.size() == 2;
  };
  ASSERT_TRUE(stream.ReadUntil(collect));
  EXPECT_THAT(reasons[0],
              AnyOf(Eq(v1::FINISH_REASON_MAX_LENGTH), Eq(v1::FINISH_REASON_SOURCE_LIMIT)));
  EXPECT_EQ(stream.started.limits().max_source_tokens_per_segment(), 5);
  EXPECT_EQ(stream.started.limits().max_target_tokens_per_segment(), 4);
  stream.stream->WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

// A reader that takes nothing is ended, and nothing is translated for it meanwhile.
TEST_F(ServerTest, AStuckReaderIsEnded) {
  ServerOptions options;
  options.max_sessions = 1;
  options.limits.stuck_reader_timeout = absl::Milliseconds(300);
  Start({FakeModel()}, options);
  Request config = Config(1);
  config.mutable_config()->mutable_output()->set_token_details(true);
  OpenStream stuck(*stub_, {config});
  ASSERT_TRUE(stuck.ReadUntil(IsStarted));
  std::thread writer([&] {
    while (stuck.stream->Write(Text("some words and more words ")) &&
           stuck.stream->Write(EndSegment())) {
    }
  });
  // The stream's place is free at once, long before the client reads on.
  const absl::Time start = absl::Now();
  bool served = false;
  while (!served && absl::Now() - start < absl::Seconds(20)) {
    served = Run({Config(), Text(kText)}).status.ok();
  }
  EXPECT_TRUE(served);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(250));
  const grpc::Status status = stuck.Finish();
  writer.join();
  EXPECT_THAT(status.error_code(),
              AnyOf(Eq(grpc::StatusCode::ABORTED), Eq(grpc::StatusCode::CANCELLED)));
  if (status.error_code() == grpc::StatusCode::ABORTED) {
    EXPECT_EQ(Reason(status), "READER_STUCK");
  }
}

// A client gets everything in the end, whatever it leaves unread for a while.
TEST_F(ServerTest, ASlowReaderLosesNothing) {
  Request config = Config(1);
  config.mutable_config()->mutable_output()->set_token_details(true);
  OpenStream stream(*stub_, {config});
  ASSERT_TRUE(stream.ReadUntil(IsStarted));
  constexpr int kSegments = 400;
  std::thread writer([&] {
    for (int i = 0; i < kSegments; ++i) {
      stream.stream->Write(Text(kText));
      stream.stream->Write(EndSegment());
    }
    stream.stream->WritesDone();
  });
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_TRUE(stream.Finish().ok());
  writer.join();
  ASSERT_EQ(stream.completed.size(), static_cast<size_t>(kSegments));
  const std::string alone = Run({Config(1), Text(kText)}).segments[0];
  for (const std::string& text : stream.completed) ASSERT_EQ(text, alone);
}

TEST_F(ServerTest, DrainLetsOpenSegmentsEnd) {
  OpenStream open(*stub_, {Config(1), Text("one two three four ")});
  ASSERT_TRUE(open.ReadUntil(IsTarget));
  OpenStream idle(*stub_, {Config()});
  ASSERT_TRUE(idle.ReadUntil(IsStarted));
  std::thread shutdown([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
  ASSERT_TRUE(open.ReadUntil([](const Response& response) { return response.has_going_away(); }));
  EXPECT_EQ(open.last.going_away().reason(), v1::GOING_AWAY_REASON_DRAINING);
  EXPECT_EQ(Reason(idle.Finish()), "DRAINING");
  std::string health;
  ASSERT_TRUE(CallRaw("/grpc.health.v1.Health/Check", "", &health).ok());
  EXPECT_EQ(health, "\x08\x02");  // NOT_SERVING
  OpenStream late(*stub_, {});
  const grpc::Status refused = late.Finish();
  EXPECT_EQ(Reason(refused), "DRAINING");
  EXPECT_GT(RetryDelay(refused), absl::ZeroDuration());
  open.stream->Write(Text("five six seven"));
  open.stream->Write(EndSegment());
  const grpc::Status status = open.Finish();
  shutdown.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "DRAINING");
  EXPECT_EQ(open.completed.size(), 1u);
  EXPECT_EQ(open.completed[0], open.text);
}

TEST_F(ServerTest, ForceEndsADrain) {
  OpenStream open(*stub_, {Config(1), Text("one two three four ")});
  ASSERT_TRUE(open.ReadUntil(IsTarget));
  const SteadyTime start = SteadyNow();
  std::thread shutdown([&] { server_->Shutdown(start + absl::Minutes(2)); });
  ASSERT_TRUE(open.ReadUntil([](const Response& response) { return response.has_going_away(); }));
  server_->Force();
  EXPECT_EQ(Reason(open.Finish()), "DRAINING");
  shutdown.join();
  EXPECT_LT(SteadyNow() - start, absl::Seconds(20));
}

}  // namespace
}  // namespace leapstream
