#include "client/wire.h"

#include <string>
#include <variant>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

grpc::Status ServerStatus(const std::string& domain) {
  google::rpc::Status status;
  status.set_code(8);
  status.set_message("full");
  google::rpc::ErrorInfo info;
  info.set_domain(domain);
  info.set_reason("OVERLOADED");
  status.add_details()->PackFrom(info);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  status.add_details()->PackFrom(retry);
  return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", status.SerializeAsString());
}

TEST(WireTest, AServersStatusKeepsItsDetails) {
  const absl::Status status = ToStatus(ServerStatus("leapstream"));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "full");
  EXPECT_TRUE(IsFromServer(status));
  EXPECT_EQ(ErrorReason(status), "OVERLOADED");
  EXPECT_EQ(RetryDelay(status), absl::Milliseconds(2500));
  const absl::Status other = WithMessage(status, "still full");
  EXPECT_EQ(other.message(), "still full");
  EXPECT_EQ(ErrorReason(other), "OVERLOADED");
}

TEST(WireTest, AProxysStatusIsNotTheServers) {
  EXPECT_FALSE(IsFromServer(ToStatus(ServerStatus("proxy.example"))));
  const absl::Status plain =
      ToStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"));
  EXPECT_FALSE(IsFromServer(plain));
  EXPECT_EQ(ErrorReason(plain), "");
  EXPECT_EQ(RetryDelay(plain), absl::ZeroDuration());
  EXPECT_EQ(WithNote(plain, "; by a proxy").message(), "connection refused; by a proxy");
  EXPECT_EQ(WithNote(ToStatus(ServerStatus("leapstream")), "; by a proxy").message(), "full");
}

TEST(WireTest, DetailsThatAreNoneAreNoError) {
  const absl::Status status =
      ToStatus(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\xff\xff"));
  EXPECT_EQ(status, absl::InternalError("broken"));
}

TEST(WireTest, OptionsAreSentAsTheyAreGiven) {
  StreamOptions options;
  options.model = "m";
  options.source_language_code = "de";
  options.target_language_code = "en";
  options.policy.rule = WaitK{3};
  options.early_end = EarlyEnd::kReadOn;
  options.next_segments = true;
  options.sentences = true;
  options.max_target_tokens = 9;
  options.idle_timeout = absl::Milliseconds(1500);
  const pb::SessionConfig config = ToProto(options);
  EXPECT_EQ(config.model(), "m");
  EXPECT_EQ(config.source_language_code(), "de");
  EXPECT_EQ(config.target_language_code(), "en");
  EXPECT_EQ(config.policy().wait_k().k(), 3);
  EXPECT_EQ(config.policy().early_end(), pb::EARLY_END_READ_ON);
  EXPECT_TRUE(config.policy().continue_in_next_segment());
  EXPECT_EQ(config.text_segmentation(), pb::TEXT_SEGMENTATION_SENTENCES);
  EXPECT_EQ(config.policy().max_target_tokens(), 9);
  EXPECT_EQ(FromProto(config.idle_timeout()), options.idle_timeout);
  EXPECT_FALSE(config.has_pause_detection());
}

TEST(WireTest, WhatIsNotSetIsLeftToTheServer) {
  const pb::SessionConfig config = ToProto(StreamOptions());
  EXPECT_EQ(config.policy().policy_case(), pb::DecodingPolicy::POLICY_NOT_SET);
  EXPECT_EQ(config.policy().ByteSizeLong(), 0u);
  EXPECT_FALSE(config.has_idle_timeout());
  EXPECT_EQ(config.text_segmentation(), pb::TEXT_SEGMENTATION_UNSPECIFIED);
  EXPECT_EQ(config.input_format(), pb::SessionConfig().input_format());
}

TEST(WireTest, AppliedSettingsComeBackAsOptions) {
  StreamOptions options;
  options.audio = AudioFormat::kPcmF32Le;
  options.sample_rate = 16000;
  options.policy.rule = Offline();
  options.pause = absl::Milliseconds(600);
  options.pause_threshold_db = -40;
  pb::StreamTranslateResponse response;
  response.mutable_started()->set_session_id("id");
  *response.mutable_started()->mutable_effective_config() = ToProto(options);
  response.mutable_started()->mutable_limits()->mutable_idle_timeout()->set_seconds(30);
  const auto event = FromProto(response);
  ASSERT_TRUE(event.has_value());
  const Started& started = std::get<Started>(*event);
  EXPECT_EQ(started.session_id, "id");
  EXPECT_EQ(started.applied.audio, AudioFormat::kPcmF32Le);
  EXPECT_EQ(started.applied.sample_rate, 16000);
  EXPECT_EQ(ToText(started.applied.policy), "offline");
  EXPECT_EQ(started.applied.pause, absl::Milliseconds(600));
  EXPECT_EQ(started.applied.pause_threshold_db, -40);
  EXPECT_EQ(started.limits.idle_timeout, absl::Seconds(30));
}

// Each policy that a text can name goes to the server and comes back as it was.
TEST(WireTest, PoliciesGoThereAndBack) {
  for (const char* text :
       {"default", "wait-k:3", "wait-k:3:2+count-words", "offline", "learned", "la:2", "la:3:-1",
        "hold:4:20", "alignatt:1000", "adaptive", "adaptive:1-9:0.9:0.4",
        "la:2+read-words=3+past=refreshed+prefix-end=on",
        "wait-k:5+read-tokens=4+past=frozen+prefix-end=off", "hold:3:12+read-ms=480"}) {
    const auto policy = ParsePolicy(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    StreamOptions options;
    options.policy = *policy;
    pb::StreamTranslateResponse response;
    *response.mutable_started()->mutable_effective_config() = ToProto(options);
    const auto event = FromProto(response);
    ASSERT_TRUE(event.has_value()) << text;
    EXPECT_EQ(ToText(std::get<Started>(*event).applied.policy), text);
  }
}

TEST(WireTest, DeltasAndSegmentsComeWhole) {
  pb::StreamTranslateResponse response;
  response.mutable_target()->set_text("eins");
  response.mutable_target()->set_sequence(4);
  response.mutable_target()->set_audio_offset_ms(1280);
  auto* const token = response.mutable_target()->add_tokens();
  token->set_id(7);
  token->set_piece("_eins");
  token->set_source_tokens_read(3);
  const auto delta = FromProto(response);
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(std::get<Delta>(*delta).text, "eins");
  EXPECT_EQ(std::get<Delta>(*delta).sequence, 4);
  EXPECT_EQ(std::get<Delta>(*delta).audio_offset_ms, 1280);
  ASSERT_EQ(std::get<Delta>(*delta).tokens.size(), 1u);
  EXPECT_EQ(std::get<Delta>(*delta).tokens[0].id, 7);
  EXPECT_EQ(std::get<Delta>(*delta).tokens[0].piece, "_eins");
  response.mutable_segment_completed()->set_segment(2);
  response.mutable_segment_completed()->set_finish_reason(pb::FINISH_REASON_SOURCE_LIMIT);
  response.mutable_segment_completed()->set_continues(true);
  response.mutable_segment_completed()->set_audio_start_ms(1000);
  response.mutable_segment_completed()->set_audio_end_ms(2500);
  const auto completed = FromProto(response);
  ASSERT_TRUE(completed.has_value());
  EXPECT_EQ(std::get<SegmentCompleted>(*completed).segment, 2);
  EXPECT_EQ(std::get<SegmentCompleted>(*completed).reason, FinishReason::kSourceLimit);
  EXPECT_TRUE(std::get<SegmentCompleted>(*completed).continues);
  EXPECT_EQ(std::get<SegmentCompleted>(*completed).audio_start_ms, 1000);
  EXPECT_EQ(std::get<SegmentCompleted>(*completed).audio_end_ms, 2500);
  EXPECT_FALSE(std::get<SegmentCompleted>(*completed).stats.has_value());
}

TEST(WireTest, WhatTheUserNeedNotSeeIsNoEvent) {
  pb::StreamTranslateResponse response;
  EXPECT_FALSE(FromProto(response).has_value());  // An event of a newer server.
  response.mutable_heartbeat();
  EXPECT_FALSE(FromProto(response).has_value());
  response.mutable_resume_point();
  EXPECT_FALSE(FromProto(response).has_value());
}

}  // namespace
}  // namespace leapstream::client
