#ifndef LEAPSTREAM_TESTS_SERVER_OPERATIONS_FIXTURE_H_
#define LEAPSTREAM_TESTS_SERVER_OPERATIONS_FIXTURE_H_

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "leapstream/admin/v1/admin.grpc.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/server.h"
#include "server/token_file.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/metrics_page.h"

// A real server with a fake model, its metrics port and its admin port, for tests of an operator's
// tools.
namespace leapstream {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Request = v1::StreamTranslateRequest;
using Response = v1::StreamTranslateResponse;
using Stream = grpc::ClientReaderWriter<Request, Response>;
using Health = grpc::health::v1::HealthCheckResponse;

inline constexpr char kText[] = "the rain in spain stays mainly on the plain ";

template <typename Detail>
Detail Find(const grpc::Status& status) {
  google::rpc::Status details;
  Detail found;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&found)) return found;
  }
  return Detail();
}
inline std::string Reason(const grpc::Status& status) {
  return Find<google::rpc::ErrorInfo>(status).reason();
}

// Waits until `condition` is true. Returns false if it was not within 20 seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  // rename() replaces the file in one step. Operators should do the same.
  std::rename((path + ".new").c_str(), path.c_str());
}

struct Credentials {
  std::string authorization;
  std::string traceparent;
};

class OperationsTest : public testing::Test {
 protected:
  void Start(ServerOptions options = {}, ServerHooks hooks = {},
             std::vector<std::shared_ptr<const Model>> models = {FakeModel()}) {
    if (quiet_) spdlog::set_level(spdlog::level::off);
    server_.reset();
    options.listen = "localhost:0";
    options.metrics_listen = "127.0.0.1:0";
    options.admin_listen = "127.0.0.1:0";
    auto server = Server::Start(options, std::move(models), std::move(hooks));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    http_ = std::make_unique<httplib::Client>("127.0.0.1", server_->metrics_port());
    Connect(grpc::InsecureChannelCredentials());
    admin_ = admin::v1::AdminService::NewStub(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", server_->admin_port()), grpc::InsecureChannelCredentials()));
  }
  void Connect(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    // The channel has a connection of its own.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("localhost:", server_->port()), credentials,
                                         arguments);
    stub_ = v1::SimultaneousTranslationService::NewStub(channel_);
  }

  std::string Get(const std::string& path, int status = 200) {
    const auto answer = http_->Get(path.c_str());
    if (!answer) return "no answer";
    EXPECT_EQ(answer->status, status) << answer->body;
    return answer->body;
  }
  // The value of the sample with this name and labels; -1: there is none.
  double Metric(const std::string& sample) { return MetricIn(Get("/metrics"), sample); }

  Health::ServingStatus HealthOf(const std::string& service) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    Health response;
    grpc::ClientContext context;
    const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check",
                                           grpc::internal::RpcMethod::NORMAL_RPC, channel_);
    const grpc::Status status =
        grpc::internal::BlockingUnaryCall(channel_.get(), method, &context, request, &response);
    EXPECT_TRUE(status.ok()) << service << ": " << status.error_message();
    return response.status();
  }

  std::unique_ptr<Stream> Open(grpc::ClientContext* context, const Credentials& credentials = {},
                               const Request& first = StartRequest()) {
    context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    if (!credentials.authorization.empty()) {
      context->AddMetadata("authorization", credentials.authorization);
    }
    if (!credentials.traceparent.empty()) {
      context->AddMetadata("traceparent", credentials.traceparent);
    }
    auto stream = stub_->StreamTranslate(context);
    stream->Write(first);
    return stream;
  }
  // Runs a whole session and returns its status; its text goes to `text`.
  grpc::Status Translate(const Credentials& credentials = {}, std::string* text = nullptr) {
    grpc::ClientContext context;
    auto stream = Open(&context, credentials);
    return Finish(stream.get(), text);
  }
  static grpc::Status Finish(Stream* stream, std::string* text = nullptr) {
    Request request;
    request.mutable_source()->set_text(kText);
    stream->Write(request);
    stream->WritesDone();
    for (Response response; stream->Read(&response);) {
      if (text != nullptr) text->append(response.target().text());
    }
    return stream->Finish();
  }
  static Request StartRequest() {
    Request request;
    request.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(2);
    return request;
  }

  bool quiet_ = true;
  std::unique_ptr<Server> server_;
  std::unique_ptr<httplib::Client> http_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
  std::unique_ptr<admin::v1::AdminService::Stub> admin_;
};

class TokenTest : public OperationsTest {
 protected:
  void SetUp() override {
    path_ = absl::StrCat(testing::TempDir(), "/operations_test_tokens.", getpid());
    for (const char* name : {"alice", "bob", "carol"}) {
      tokens_[name] = TokenFile::NewToken();
      lines_[name] = *TokenFile::Entry(name, tokens_[name]);
    }
    lines_["carol"] += " 2001-01-01T00:00:00Z";
    WriteFile(path_, absl::StrCat("# comment\n\n", lines_["alice"], "\n  ", lines_["bob"], "\n",
                                  lines_["carol"], "\n"));
  }
  Credentials Of(const std::string& name) { return {absl::StrCat("Bearer ", tokens_[name]), ""}; }

  std::string path_;
  std::map<std::string, std::string> tokens_, lines_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_SERVER_OPERATIONS_FIXTURE_H_
