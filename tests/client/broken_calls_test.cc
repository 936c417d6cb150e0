// Calls end in ways in which servers do not end them, with every code that gRPC, a proxy or a
// gateway may give. The session is still there and goes on, but not for ever.
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream {
namespace {

using client::Client;
using client::Stream;
using testing::HasSubstr;

// The extent of a call before it ends with its status.
enum class Extent {
  kRefused,    // No answer.
  kStarted,    // `started`, with the means to resume.
  kSentAway,   // kStarted's answers, and the news that the server goes away.
  kProgress,   // kStarted's answers, and a token, if there is one left.
  kUnsummed,   // All of the translation, but no summary.
  kWhole,      // All of the translation and the summary.
};

struct Act {
  Extent extent = Extent::kWhole;
  grpc::Status status = grpc::Status::OK;
};

grpc::Status FromServer(grpc::StatusCode code, const std::string& reason,
                        const std::string& domain = "leapstream") {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(domain);
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(reason);
  status.add_details()->PackFrom(info);
  return {code, reason, status.SerializeAsString()};
}

// Translates anything as "A B C D", a token each, in calls that follow a script; the last act is
// repeated.
class ScriptedService final : public v1::SimultaneousTranslationService::Service {
 public:
  explicit ScriptedService(std::vector<Act> script) : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedService() override { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  int calls() const {
    MutexLock lock(&mutex_);
    return calls_;
  }
  int resumes() const {
    MutexLock lock(&mutex_);
    return resumes_;
  }

  grpc::Status StreamTranslate(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::StreamTranslateResponse, v1::StreamTranslateRequest>* stream)
      override {
    v1::StreamTranslateRequest request;
    if (!stream->Read(&request)) return grpc::Status::CANCELLED;
    const auto& resume = request.config().resume();
    Act act;
    {
      MutexLock lock(&mutex_);
      act = script_[std::min<size_t>(static_cast<size_t>(calls_), script_.size() - 1)];
      ++calls_;
      if (request.config().has_resume()) ++resumes_;
    }
    if (act.extent == Extent::kRefused) return act.status;
    v1::StreamTranslateResponse response;
    response.mutable_started()->set_session_id("s");
    *response.mutable_started()->mutable_effective_config() = request.config();
    response.mutable_started()->mutable_effective_config()->clear_resume();
    stream->Write(response);
    response.mutable_resume_point()->set_segment(1);
    response.mutable_resume_point()->set_resume_token("t");
    stream->Write(response);
    if (act.extent == Extent::kStarted) return act.status;
    if (act.extent == Extent::kSentAway) {
      response.mutable_going_away()->set_reason(v1::GOING_AWAY_REASON_DRAINING);
      stream->Write(response);
      return act.status;
    }
    int written = resume.committed_target().ids_size();
    for (; written < 4; ++written) {
      auto* target = response.mutable_target();
      target->Clear();
      target->set_segment(1);
      target->set_text(std::string(1, static_cast<char>('A' + written)));
      target->add_tokens()->set_id(written + 1);
      stream->Write(response);
      if (act.extent == Extent::kProgress) return act.status;
    }
    if (act.extent == Extent::kProgress) return act.status;
    while (stream->Read(&request)) continue;
    auto* completed = response.mutable_segment_completed();
    completed->set_segment(1);
    completed->set_text("ABCD");
    if (act.extent == Extent::kUnsummed) return act.status;
    stream->Write(response);
    response.mutable_summary()->set_segments(1);
    stream->Write(response);
    return act.status;
  }

 private:
  const std::vector<Act> script_;
  int port_ = 0;
  mutable Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int resumes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Declared last, since it calls the rest until it is gone.
  std::unique_ptr<grpc::Server> server_;
};

struct Result {
  std::string text;
  int segments = 0;
  absl::Status status;
};

Result Translate(const std::string& address, absl::Duration deadline = absl::InfiniteDuration()) {
  Result result;
  auto client = Client::Connect({address, absl::Seconds(20)});
  if (!client.ok()) return {"", 0, client.status()};
  client::StreamOptions options;
  options.deadline = deadline;
  const std::unique_ptr<Stream> stream = (*client)->StartStream(options);
  EXPECT_TRUE(stream->PushText("a source").ok());
  EXPECT_TRUE(stream->CloseSource().ok());
  while (const auto event = stream->Next()) {
    if (const auto* delta = std::get_if<client::Delta>(&*event)) result.text += delta->text;
    result.segments += std::holds_alternative<client::SegmentCompleted>(*event);
  }
  result.status = stream->Wait();
  return result;
}

// All codes, since a proxy may give any.
std::vector<grpc::StatusCode> Codes() {
  std::vector<grpc::StatusCode> codes;
  for (int code = 1; code <= 16; ++code) codes.push_back(static_cast<grpc::StatusCode>(code));
  return codes;
}

TEST(BrokenCallsTest, WhateverTheCodeASessionGoesOn) {
  for (const grpc::StatusCode code : Codes()) {
    const grpc::Status broken(code, "by the proxy");
    ScriptedService service({{Extent::kProgress, broken},
                             {Extent::kStarted, broken},
                             {Extent::kRefused, broken},
                             {Extent::kProgress, broken},
                             {Extent::kWhole, grpc::Status::OK}});
    const Result result = Translate(service.address());
    EXPECT_TRUE(result.status.ok()) << code << ": " << result.status;
    EXPECT_EQ(result.text, "ABCD") << code;
    EXPECT_EQ(result.segments, 1) << code;
    EXPECT_EQ(service.calls(), 5) << code;
    EXPECT_EQ(service.resumes(), 4) << code;
  }
}

TEST(BrokenCallsTest, AnErrorInfoOfAGatewayIsNoServers) {
  ScriptedService service(
      {{Extent::kProgress,
        FromServer(grpc::StatusCode::PERMISSION_DENIED, "RATE_LIMIT", "gateway.example")},
       {Extent::kWhole, grpc::Status::OK}});
  const Result result = Translate(service.address());
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.text, "ABCD");
}

TEST(BrokenCallsTest, AnEndWithoutASummaryIsABreak) {
  ScriptedService service({{Extent::kUnsummed, grpc::Status::OK}, {Extent::kWhole, {}}});
  const Result result = Translate(service.address());
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.text, "ABCD");
  EXPECT_EQ(service.calls(), 2);

  ScriptedService never({{Extent::kUnsummed, grpc::Status::OK}});
  EXPECT_FALSE(Translate(never.address()).status.ok());
}

TEST(BrokenCallsTest, CallsThatBringNothingEnd) {
  for (const grpc::StatusCode code : Codes()) {
    ScriptedService service({{Extent::kProgress, {code, "by the proxy"}},
                             {Extent::kStarted, {code, "by the proxy"}}});
    const Result result = Translate(service.address());
    EXPECT_EQ(static_cast<int>(result.status.code()), code);
    EXPECT_THAT(std::string(result.status.message()), HasSubstr("calls in a row broke at once"));
    EXPECT_EQ(service.calls(), 6) << code;
  }
}

TEST(BrokenCallsTest, ResumesThatSomebodyElseAnswersEnd) {
  ScriptedService service({{Extent::kProgress, {grpc::StatusCode::RESOURCE_EXHAUSTED, "headers"}},
                           {Extent::kRefused, {grpc::StatusCode::RESOURCE_EXHAUSTED, "headers"}}});
  const Result result = Translate(service.address());
  EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("not answered by a leapstream"));
  EXPECT_LT(service.calls(), 15);
}

// There is no session to be resumed, and waiting would only hide the error.
TEST(BrokenCallsTest, WhatIsNoServerOfOursIsSaidAtOnce) {
  for (const auto code :
       {grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::UNAUTHENTICATED,
        grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::NOT_FOUND}) {
    ScriptedService service({{Extent::kRefused, {code, "by the gateway"}}});
    const Result result = Translate(service.address());
    EXPECT_EQ(static_cast<int>(result.status.code()), code);
    EXPECT_EQ(result.status.message(), "by the gateway");
    EXPECT_EQ(service.calls(), 1);
  }
  // Another address may still be a leapstream server.
  ScriptedService wrong({{Extent::kRefused, {grpc::StatusCode::UNIMPLEMENTED, "no such path"}}});
  ScriptedService right({{Extent::kWhole, {}}});
  for (int i = 0; i < 4; ++i) {
    const Result result = Translate(absl::StrCat(wrong.address(), ",", right.address()));
    EXPECT_TRUE(result.status.ok()) << result.status;
  }
  // A proxy that ends all streams of a connection may do so at a stream's beginning.
  ScriptedService once({{Extent::kRefused, {grpc::StatusCode::RESOURCE_EXHAUSTED, "headers"}},
                        {Extent::kWhole, {}}});
  EXPECT_TRUE(Translate(once.address()).status.ok());
}

TEST(BrokenCallsTest, TheClientsOwnDeadlineIsOne) {
  ScriptedService service({{Extent::kRefused, {grpc::StatusCode::UNAVAILABLE, "gone"}}});
  EXPECT_EQ(Translate(service.address(), absl::Milliseconds(300)).status.code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(BrokenCallsTest, AQuotaIsWaitedForWhereTheSessionIsOnesOwn) {
  const grpc::Status quota = FromServer(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED");
  ScriptedService resumed({{Extent::kProgress, {grpc::StatusCode::UNAVAILABLE, "broken"}},
                           {Extent::kRefused, quota},
                           {Extent::kRefused, quota},
                           {Extent::kRefused, FromServer(grpc::StatusCode::UNAVAILABLE,
                                                         "SERVER_FULL")},
                           {Extent::kWhole, {}}});
  const Result result = Translate(resumed.address());
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.text, "ABCD");

  // The session may have begun there without our knowledge.
  ScriptedService unknown({{Extent::kRefused, {grpc::StatusCode::INTERNAL, "broken"}},
                           {Extent::kRefused, quota},
                           {Extent::kWhole, {}}});
  EXPECT_TRUE(Translate(unknown.address()).status.ok());

  ScriptedService others({{Extent::kRefused, quota}});
  const absl::Status refused = Translate(others.address()).status;
  EXPECT_EQ(client::ErrorReason(refused), "QUOTA_EXCEEDED");
  EXPECT_EQ(others.calls(), 1);
}

// A server may still hold the session of an earlier call. It ends once the session goes on there.
TEST(BrokenCallsTest, AQuotaAfterAResumeIsThatOfOtherSessions) {
  ScriptedService service(
      {{Extent::kProgress, {grpc::StatusCode::UNAVAILABLE, "broken"}},
       {Extent::kProgress, FromServer(grpc::StatusCode::UNAVAILABLE, "DRAINING")},
       {Extent::kRefused, FromServer(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")}});
  const Result result = Translate(service.address(), absl::Seconds(10));
  EXPECT_EQ(client::ErrorReason(result.status), "QUOTA_EXCEEDED") << result.status;
  EXPECT_EQ(service.calls(), 3);
}

TEST(BrokenCallsTest, ServersThatAlwaysGoAwayAreLeft) {
  const Act away = {Extent::kSentAway, FromServer(grpc::StatusCode::UNAVAILABLE, "DRAINING")};
  ScriptedService never({away});
  const Result result = Translate(never.address(), absl::Seconds(30));
  EXPECT_EQ(client::ErrorReason(result.status), "DRAINING") << result.status;
  EXPECT_THAT(std::string(result.status.message()),
              HasSubstr("calls in a row were ended at once by servers that go away"));
  EXPECT_LE(never.calls(), 10);

  // Three servers in a row go away, as in a rolling restart.
  ScriptedService others({away, away, away, {Extent::kWhole, {}}});
  const Result restarted = Translate(others.address());
  EXPECT_TRUE(restarted.status.ok()) << restarted.status;
  EXPECT_EQ(restarted.text, "ABCD");
}

TEST(BrokenCallsTest, WhatAServerRefusesIsRefused) {
  const std::pair<grpc::StatusCode, const char*> kReasons[] = {
      {grpc::StatusCode::UNAUTHENTICATED, "TOKEN_EXPIRED"},
      {grpc::StatusCode::ABORTED, "SUPERSEDED"},
      {grpc::StatusCode::INVALID_ARGUMENT, "RESUME_TOKEN_INVALID"},
      {grpc::StatusCode::INTERNAL, "INTERNAL"}};
  for (const auto& [code, reason] : kReasons) {
    ScriptedService service({{Extent::kProgress, FromServer(code, reason)}});
    const Result result = Translate(service.address());
    EXPECT_EQ(client::ErrorReason(result.status), reason);
    EXPECT_EQ(service.calls(), 1) << reason;
  }
}

}  // namespace
}  // namespace leapstream
