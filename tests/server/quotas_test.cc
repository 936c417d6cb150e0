// Usage and quotas of principals, over gRPC, HTTP and WebSockets.
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/http_fixture.h"

namespace leapstream {
namespace {

constexpr char kFirst[] = "für the rain in ";  // 16 characters, 17 bytes.
constexpr char kSecond[] = "spain stays on ";  // 15 characters.
constexpr char kThird[] = "the plain";         // 9 characters.

Request Chunk(const std::string& text, int64_t sequence) {
  Request request;
  request.mutable_source()->set_text(text);
  request.mutable_source()->set_sequence(sequence);
  return request;
}

// One stream, read to its end or up to a token.
struct Said {
  std::string session_id, text;
  v1::ResumePoint point;
  std::vector<int> ids;
  v1::SessionSummary summary;
  std::vector<std::string> segments;
  grpc::Status status;
};

class QuotasTest : public HttpApiTest {
 protected:
  void SetUp() override { TokenTest::SetUp(); }
  // Each target token is the source token of its place.
  static FakeModelOptions Following() {
    FakeModelOptions model;
    model.follows_source = 0;
    return model;
  }
  // The quota is one per day, so that its window lasts longer than any test.
  void StartWith(int64_t characters, const FakeModelOptions& model = Following()) {
    ServerOptions options;
    options.auth_tokens_file = path_;
    options.quotas.per_day = characters;
    options.http_listen = "127.0.0.1:0";
    ServerHooks hooks;
    hooks.load = [](const std::string& /*name*/,
                    const auto& loaded) -> absl::StatusOr<std::shared_ptr<const Model>> {
      return loaded.front();
    };
    ASSERT_NO_FATAL_FAILURE(Start(options, hooks, {FakeModel(model)}));
  }
  static Request Begin() {
    Request request = StartRequest();
    request.mutable_config()->mutable_output()->set_token_details(true);
    request.mutable_config()->mutable_output()->set_segment_stats(true);
    return request;
  }
  static Request Resume(const Said& broken) {
    Request request = Begin();
    v1::ResumeRequest& resume = *request.mutable_config()->mutable_resume();
    resume.set_session_id(broken.session_id);
    resume.set_resume_token(broken.point.resume_token());
    resume.set_next_source_sequence(broken.point.consumed_source_sequence() + 1);
    for (const int id : broken.ids) resume.mutable_committed_target()->add_ids(id);
    return request;
  }
  // Sends the requests. Half-closes, or cancels the call once it has brought `tokens` tokens.
  Said Speak(const std::string& principal, const std::vector<Request>& requests,
             size_t tokens = 0) {
    grpc::ClientContext context;
    auto stream = OperationsTest::Open(&context, Of(principal), requests.front());
    for (size_t i = 1; i < requests.size(); ++i) stream->Write(requests[i]);
    if (tokens == 0) stream->WritesDone();
    Said said;
    for (Response response; stream->Read(&response);) {
      if (response.has_started()) said.session_id = response.started().session_id();
      if (response.has_resume_point()) said.point = response.resume_point();
      if (response.has_summary()) said.summary = response.summary();
      if (response.has_segment_completed()) {
        said.segments.push_back(response.segment_completed().text());
      }
      said.text += response.target().text();
      for (const auto& token : response.target().tokens()) said.ids.push_back(token.id());
      if (tokens > 0 && said.ids.size() >= tokens) context.TryCancel();
    }
    said.status = stream->Finish();
    return said;
  }
  grpc::Status TranslateText(const std::string& principal, const std::string& text,
                             v1::TranslateResponse* response) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", Of(principal).authorization);
    v1::TranslateRequest request;
    request.set_text(text);
    return stub_->Translate(&context, request, response);
  }
  double Used(const std::string& what, const std::string& principal) {
    return Metric(absl::StrCat("leapstream_usage_", what, "_total{principal=\"", principal, "\"}"));
  }
  double Requests(const std::string& method, const std::string& principal) {
    return Metric(absl::StrCat("leapstream_usage_requests_total{method=\"", method,
                               "\",principal=\"", principal, "\"}"));
  }
  httplib::Headers HeadersOf(const std::string& principal) {
    return {{"Authorization", Of(principal).authorization}};
  }
  void ExpectQuota(const grpc::Status& status, const std::string& message) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED") << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(message));
    const auto failure = Find<google::rpc::QuotaFailure>(status);
    ASSERT_EQ(failure.violations_size(), 1);
    EXPECT_EQ(failure.violations(0).subject(), "alice");
    EXPECT_EQ(failure.violations(0).description(), "characters a day");
    const auto seconds = Find<google::rpc::RetryInfo>(status).retry_delay().seconds();
    EXPECT_TRUE(seconds > 80000 && seconds <= 86400) << seconds;
  }
};

TEST_F(QuotasTest, UsageIsCountedToTheCharacter) {
  StartWith(0);
  const Said said = Speak("alice", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2)});
  ASSERT_TRUE(said.status.ok()) << said.status.error_message();
  EXPECT_EQ(said.summary.usage().source_characters(), 31);
  EXPECT_EQ(said.summary.usage().target_tokens(), said.summary.target_tokens());
  EXPECT_GT(said.summary.target_tokens(), 5);
  EXPECT_EQ(said.summary.usage().source_audio_ms(), 0);
  EXPECT_EQ(Used("source_characters", "alice"), 31);
  EXPECT_EQ(Used("target_tokens", "alice"), said.summary.target_tokens());
  v1::TranslateResponse translation;
  ASSERT_TRUE(TranslateText("alice", "the plain\nfür", &translation).ok());
  EXPECT_EQ(translation.usage().source_characters(), 13);
  EXPECT_EQ(translation.usage().target_tokens(), translation.stats().target_tokens());
  EXPECT_EQ(Used("source_characters", "alice"), 44);
  const auto answer = Post("/v1/translate", R"({"text": "good day"})", HeadersOf("alice"));
  ASSERT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(Json::parse(answer->body)["usage"]["sourceCharacters"], "8");
  EXPECT_EQ(Used("source_characters", "alice"), 52);
  EXPECT_EQ(Requests("StreamTranslate", "alice"), 1);
  EXPECT_EQ(Requests("Translate", "alice"), 2);
  EXPECT_EQ(Requests("Generate", "alice"), 0);
  EXPECT_EQ(Used("audio_seconds", "alice"), 0);
  EXPECT_EQ(Used("source_characters", "bob"), -1) << "bob has never called";
}

TEST_F(QuotasTest, AStreamTranslatesWhatWasCountedAndGoesOnLater) {
  StartWith(38);
  const Said whole = Speak("bob", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2)});
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  const Said said = Speak(
      "alice", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2), Chunk(kThird, 3), Chunk("x", 4)});
  ExpectQuota(said.status,
              "you may use 38 characters a day (max_characters_per_day) and have used 31, "
              "and this needs 9 more; go on in ");
  EXPECT_TRUE(said.segments.empty());
  // With k = 2, all but one of the tokens that were read were translated. </s> was not read.
  EXPECT_EQ(static_cast<int64_t>(said.ids.size()), whole.summary.source_tokens() - 2);
  EXPECT_EQ(Used("source_characters", "alice"), 31) << "the third chunk was not taken";
  EXPECT_EQ(Metric("leapstream_sessions_finished_total{model=\"fake-en-de\","
                   "outcome=\"ResourceExhausted\",reason=\"QUOTA_EXCEEDED\"}"),
            1);
  // Source that is sent again does not count again, so it fits into the quota.
  const Said rest = Speak("alice", {Resume(said), Chunk(kFirst, 1), Chunk(kSecond, 2)});
  ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(rest.segments, whole.segments);
  EXPECT_EQ(said.text + rest.text, whole.text);
  EXPECT_EQ(rest.summary.usage().source_characters(), 0);
  EXPECT_EQ(rest.summary.usage().target_tokens() + static_cast<int64_t>(said.ids.size()),
            whole.summary.target_tokens());
  EXPECT_EQ(Used("source_characters", "alice"), 31);
  EXPECT_EQ(Used("target_tokens", "alice"), whole.summary.target_tokens());
}

TEST_F(QuotasTest, AStreamThatBrokeCountsItsSourceOnce) {
  StartWith(40);
  const Said whole = Speak("bob", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2)});
  // So many tokens need all of the source.
  const auto all = static_cast<size_t>(whole.summary.source_tokens() - 2);
  const Said broken = Speak("alice", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2)}, all);
  ASSERT_EQ(broken.status.error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_EQ(Used("source_characters", "alice"), 31);
  const Said rest =
      Speak("alice", {Resume(broken), Chunk(kFirst, 1), Chunk(kSecond, 2), Chunk(kThird, 3)});
  ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(rest.summary.usage().source_characters(), 9);
  EXPECT_EQ(Used("source_characters", "alice"), 40);
}

TEST_F(QuotasTest, AResumeWhoseSourceIsCountedNeedsNoQuota) {
  StartWith(31);
  const Said said =
      Speak("alice", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2), Chunk(kThird, 3)});
  ExpectQuota(said.status, "have used 31, and this needs 9 more; go on in ");
  ExpectQuota(Speak("alice", {Begin()}).status, "have used 31; go on in ");
  const Request resume = Resume(said);
  for (int resumes = 0; resumes < 3; ++resumes) {
    const Said more = Speak("alice", {resume, Chunk(kFirst, 1), Chunk(kSecond, 2), Chunk("x", 3)});
    ExpectQuota(more.status, "have used 31, and this needs 1 more; go on in ");
  }
  // Another text in a counted chunk's place is not that chunk.
  ExpectQuota(Speak("alice", {resume, Chunk(kFirst, 1), Chunk("spain stays at ", 2)}).status,
              "have used 31, and this needs 15 more; go on in ");
  const Said rest = Speak("alice", {resume, Chunk(kFirst, 1), Chunk(kSecond, 2)});
  ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(rest.segments.size(), 1u);
  EXPECT_EQ(rest.summary.usage().source_characters(), 0);
  EXPECT_EQ(Used("source_characters", "alice"), 31);
}

TEST_F(QuotasTest, EveryWayInHasTheSameQuota) {
  StartWith(40);
  ASSERT_TRUE(Speak("alice", {Begin(), Chunk(kFirst, 1), Chunk(kSecond, 2)}).status.ok());
  v1::TranslateResponse translation;
  ExpectQuota(TranslateText("alice", "ten letter", &translation),
              "have used 31, and this needs 10");
  ASSERT_TRUE(TranslateText("alice", kThird, &translation).ok());
  // All 40 are used. Nobody comes in now, by whichever way.
  ExpectQuota(Speak("alice", {Begin()}).status, "have used 40; go on in ");
  ExpectQuota(TranslateText("alice", "x", &translation), "have used 40; go on in ");
  const auto refused = Post("/v1/translate", R"({"text": "x"})", HeadersOf("alice"));
  ExpectError(refused, 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "have used 40; go on in ");
  const int seconds = std::atoi(refused->get_header_value("Retry-After").c_str());
  EXPECT_TRUE(seconds > 80000 && seconds <= 86401) << seconds;
  const auto socket = Open("/v1/stream", {{"Authorization", Of("alice").authorization}});
  socket->Send(kConfig);
  const Heard heard = ReadAll(socket.get());
  EXPECT_EQ(heard.reason(), "QUOTA_EXCEEDED");
  EXPECT_EQ(heard.close_code, 4008);
  EXPECT_TRUE(heard.error.contains("retryDelay")) << heard.error;
  EXPECT_EQ(Metric("leapstream_sessions_rejected_total{reason=\"QUOTA_EXCEEDED\"}"), 4);
  // Another principal has its own, and a reload of the models changes nothing.
  ASSERT_TRUE(server_->ReloadModels().ok());
  ExpectQuota(TranslateText("alice", "x", &translation), "have used 40; go on in ");
  EXPECT_TRUE(TranslateText("bob", "ten letter", &translation).ok());
}

TEST_F(QuotasTest, AWebSocketHearsTheEndOfItsQuota) {
  StartWith(20);
  const auto socket = Open("/v1/stream", {{"Authorization", Of("bob").authorization}});
  socket->Send(kConfig);
  socket->Send(TextMessage(kFirst));
  socket->Send(TextMessage(kSecond));
  const Heard heard = ReadAll(socket.get());
  EXPECT_EQ(heard.reason(), "QUOTA_EXCEEDED");
  EXPECT_FALSE(heard.deltas.at(1).empty()) << "what was counted was translated";
  EXPECT_EQ(heard.close_code, 4008);
  EXPECT_EQ(Used("source_characters", "bob"), 16);
}

TEST_F(QuotasTest, WhatCanNeverFitHasNoTimeToComeBack) {
  StartWith(20);
  v1::TranslateResponse translation;
  const grpc::Status status = TranslateText("alice", kText, &translation);
  EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED");
  EXPECT_THAT(status.error_message(), HasSubstr("needs 44 at once; send less at once"));
  EXPECT_FALSE(Find<google::rpc::RetryInfo>(status).has_retry_delay());
  EXPECT_TRUE(TranslateText("alice", kFirst, &translation).ok()) << "nothing was used";
}

TEST_F(QuotasTest, AudioCountsByItsLength) {
  FakeModelOptions speech;
  speech.speech = true;
  StartWith(30, speech);  // Two seconds.
  Request audio;
  audio.mutable_source()->set_audio(std::string(2 * 12000, '\1'));  // 0.75 s.
  Request config;
  config.mutable_config();
  const Said said = Speak("alice", {config, audio, audio, audio});
  ExpectQuota(said.status, "have used 23, and this needs 12 more; go on in ");
  EXPECT_EQ(Used("audio_seconds", "alice"), 1.5);
  EXPECT_EQ(Used("source_characters", "alice"), 0);
}

TEST_F(QuotasTest, WithoutTokensEverybodyIsAnonymousAndHasNoQuota) {
  ServerOptions options;
  options.quotas.per_day = 1;
  Start(options);
  EXPECT_TRUE(OperationsTest::Translate().ok());
  EXPECT_EQ(Used("source_characters", "anonymous"), 44);
}

}  // namespace
}  // namespace leapstream
