// Tests of an operator's tools on a real server with a fake model: metrics and probes, TLS and
// tokens, quotas, the admin service, and reloads.
#include <gmock/gmock.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/quoted.h"
#include "client/client.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "leapstream/admin/v1/admin.grpc.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/caller.h"
#include "server/logging.h"
#include "server/server.h"
#include "server/token_file.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Request = v1::StreamTranslateRequest;
using Response = v1::StreamTranslateResponse;
using Stream = grpc::ClientReaderWriter<Request, Response>;
using Health = grpc::health::v1::HealthCheckResponse;

constexpr char kText[] = "the rain in spain stays mainly on the plain ";

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
std::string Reason(const grpc::Status& status) {
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

void WriteFile(const std::string& path, const std::string& text) {
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

TEST_F(OperationsTest, MetricsCountWhatHappened) {
  ServerOptions options;
  options.max_sessions = 2;
  Start(options);
  EXPECT_EQ(Metric("leapstream_slots"), 2);
  EXPECT_EQ(Metric("leapstream_draining"), 0);
  ASSERT_TRUE(Translate().ok());
  EXPECT_EQ(Metric("leapstream_sessions_started_total{model=\"fake-en-de\",resumed=\"false\"}"), 1);
  EXPECT_EQ(Metric("leapstream_sessions_finished_total{model=\"fake-en-de\",outcome=\"OK\","
                   "reason=\"\"}"),
            1);
  const double source = Metric("leapstream_source_tokens_total{model=\"fake-en-de\"}");
  const double target = Metric("leapstream_target_tokens_total{model=\"fake-en-de\"}");
  EXPECT_GT(source, 9);
  EXPECT_GT(target, 2);
  EXPECT_EQ(Metric("leapstream_token_latency_seconds_count{model=\"fake-en-de\"}"), target);
  EXPECT_EQ(Metric("leapstream_time_to_first_token_seconds_count{model=\"fake-en-de\"}"), 1);
  EXPECT_EQ(Metric("leapstream_average_lagging_count{k=\"2\",model=\"fake-en-de\"}"), 1);
  EXPECT_EQ(Metric("leapstream_laal_count{k=\"2\","
                   "model=\"fake-en-de\"}"),
            1);
  const std::string lagging =
      "computation_aware=\"false\",figure=\"AL\",k=\"2\",model=\"fake-en-de\",per=";
  EXPECT_EQ(Metric("leapstream_lagging_sum{" + lagging + "\"token\"}"),
            Metric("leapstream_average_lagging_sum{k=\"2\",model=\"fake-en-de\"}"));
  EXPECT_EQ(Metric("leapstream_lagging_count{" + lagging + "\"word\"}"), 1);
  EXPECT_EQ(Metric("leapstream_step_batch_size_sum{kind=\"read\",model=\"fake-en-de\"}"), source);
  EXPECT_GT(Metric("leapstream_step_seconds_count{model=\"fake-en-de\"}"), 0);
  const std::string method =
      "grpc_method=\"StreamTranslate\",grpc_service=\"leapstream.v1.SimultaneousTranslationService"
      "\",grpc_type=\"bidi_stream\"}";
  EXPECT_EQ(Metric(absl::StrCat("grpc_server_started_total{", method)), 1);
  EXPECT_EQ(Metric(absl::StrCat("grpc_server_handled_total{grpc_code=\"OK\",", method)), 1);
  EXPECT_EQ(Metric(absl::StrCat("grpc_server_msg_received_total{", method)), 2);
  EXPECT_GT(Metric(absl::StrCat("grpc_server_msg_sent_total{", method)), 3);
  EXPECT_GT(Metric("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(Metric("process_open_fds"), 3);
  EXPECT_GT(Metric("process_start_time_seconds"),
            absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) - 3600);

  grpc::ClientContext one, two, three;
  auto first = Open(&one), second = Open(&two);
  Response response;
  ASSERT_TRUE(first->Read(&response) && second->Read(&response));
  EXPECT_EQ(Metric("leapstream_slots_used"), 2);
  EXPECT_EQ(Metric("leapstream_sessions_active{model=\"fake-en-de\"}"), 2);
  auto refused = Open(&three);
  EXPECT_EQ(Finish(refused.get()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Metric("leapstream_sessions_rejected_total{reason=\"SERVER_FULL\"}"), 1);
  EXPECT_EQ(Get("/readyz"), "ok\n") << "full is not unready";
  one.TryCancel();
  EXPECT_TRUE(Finish(second.get()).ok());
  EXPECT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 0; }));
  EXPECT_TRUE(
      Eventually([&] { return Metric("leapstream_sessions_active{model=\"fake-en-de\"}") == 0; }));
  EXPECT_TRUE(Eventually([&] {
    return Metric(
               "leapstream_sessions_finished_total{model=\"fake-en-de\",outcome=\"Cancelled\","
               "reason=\"CANCELLED\"}") == 1;
  }));
  EXPECT_THAT(Get("/metrics"), Not(HasSubstr("session=")));
}

TEST_F(OperationsTest, NoClientMakesSeriesWithoutEnd) {
  Start();
  for (int k = 1; k <= 60; ++k) {
    Request request;
    request.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(k);
    request.mutable_config()->set_model(k % 2 == 0 ? "" : absl::StrCat("model-", k));
    grpc::ClientContext context;
    Finish(Open(&context, {}, request).get());
  }
  int series = 0;
  const std::string page = Get("/metrics");
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    if (absl::StartsWith(line, "leapstream_average_lagging_count")) ++series;
    EXPECT_FALSE(absl::StrContains(line, "model-1")) << line;
  }
  EXPECT_LE(series, 18);
}

TEST_F(OperationsTest, DashboardAndAlertsNameMetricsThatThereAre) {
  Start();
  ASSERT_TRUE(Translate().ok());
  const std::string page = Get("/metrics");
  const std::regex metric("(leapstream|process|grpc_server)_[a-z_]+");
  int found = 0;
  for (const char* path :
       {"/docker/grafana/dashboards/leapstream.json", "/docker/prometheus/alerts.yaml"}) {
    std::ifstream file(std::string(LEAPSTREAM_SOURCE_DIR) + path);
    ASSERT_TRUE(file) << path;
    for (std::string line; std::getline(file, line);) {
      if (!absl::StrContains(line, "expr")) continue;
      for (std::sregex_iterator match(line.begin(), line.end(), metric), end; match != end;
           ++match) {
        const std::string name = match->str();
        EXPECT_TRUE(absl::StrContains(page, "\n" + name + "{") ||
                    absl::StrContains(page, "\n" + name + " "))
            << path << ": " << name;
        ++found;
      }
    }
  }
  EXPECT_GT(found, 20);
}

TEST_F(OperationsTest, ProbesTellDrainingFromDead) {
  Start();
  EXPECT_EQ(Get("/healthz"), "ok\n");
  EXPECT_EQ(Get("/readyz"), "ok\n");
  grpc::ClientContext context;
  auto stream = Open(&context);
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  std::thread drain([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
  EXPECT_TRUE(Eventually([&] { return Metric("leapstream_draining") == 1; }));
  EXPECT_THAT(Get("/readyz", 503), HasSubstr("shutting down"));
  EXPECT_EQ(Get("/healthz"), "ok\n");
  context.TryCancel();
  drain.join();
}

// While a drain is announced, load balancers look elsewhere, and nobody is refused or sent away
// yet.
TEST_F(OperationsTest, AnAnnouncedDrainServesOn) {
  Start();
  grpc::ClientContext context;
  auto stream = Open(&context);
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  const SteadyTime until = SteadyNow() + absl::Milliseconds(200);
  server_->AnnounceDrain(until);
  EXPECT_GE(SteadyNow(), until);
  EXPECT_EQ(Metric("leapstream_draining"), 1);
  EXPECT_THAT(Get("/readyz", 503), HasSubstr("shutting down"));
  EXPECT_EQ(Get("/healthz"), "ok\n");
  EXPECT_EQ(HealthOf(""), Health::NOT_SERVING);
  EXPECT_EQ(HealthOf("leapstream.v1.SimultaneousTranslationService"), Health::NOT_SERVING);
  EXPECT_EQ(HealthOf("liveness"), Health::SERVING);
  EXPECT_TRUE(Translate().ok());

  Request request;
  request.mutable_source()->set_text(kText);
  stream->Write(request);
  do {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_FALSE(response.has_going_away());
  } while (!response.has_target());
  std::thread drain([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
  while (!response.has_going_away() && stream->Read(&response)) {
  }
  EXPECT_TRUE(response.has_going_away());
  EXPECT_EQ(Reason(Translate()), "DRAINING");
  context.TryCancel();
  drain.join();
}

TEST_F(OperationsTest, ForceEndsAnAnnouncedDrain) {
  Start();
  grpc::ClientContext context;
  auto stream = Open(&context);
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  const SteadyTime start = SteadyNow();
  std::thread drain([&] {
    server_->AnnounceDrain(start + absl::Minutes(2));
    server_->Shutdown(start + absl::Minutes(2));
  });
  EXPECT_TRUE(Eventually([&] { return Metric("leapstream_draining") == 1; }));
  server_->Force();
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(Reason(stream->Finish()), "DRAINING");
  drain.join();
  EXPECT_LT(SteadyNow() - start, absl::Minutes(1));
}

TEST_F(OperationsTest, AStepThatHangsIsDeadNotUnready) {
  ServerOptions options;
  options.liveness_timeout = absl::Milliseconds(300);
  FakeModelOptions slow;
  slow.step_delay = absl::Seconds(3);
  Start(options, {}, {FakeModel(slow)});
  EXPECT_EQ(HealthOf(""), Health::SERVING);
  EXPECT_EQ(HealthOf("leapstream.v1.SimultaneousTranslationService"), Health::SERVING);
  EXPECT_EQ(HealthOf("liveness"), Health::SERVING);
  grpc::ClientContext context;
  auto stream = Open(&context);
  Request request;
  request.mutable_source()->set_text(kText);
  stream->Write(request);
  EXPECT_TRUE(Eventually([&] { return HealthOf("liveness") == Health::NOT_SERVING; }));
  EXPECT_THAT(Get("/healthz", 503), HasSubstr("fake-en-de"));
  context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return HealthOf("liveness") == Health::SERVING; }));
}

// gRPC itself would wait without end for a client that holds a stream open on the admin port.
TEST_F(OperationsTest, AStreamOnTheAdminPortHoldsNoEndUp) {
  Start();
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->admin_port()),
                                           grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  const grpc::internal::RpcMethod method(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel.get(), method, &context));
  const grpc::Slice list_services("\x3a\0", 2);
  grpc::ByteBuffer answer;
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&list_services, 1)));
  ASSERT_TRUE(stream->Read(&answer));
  auto ended = std::async(std::launch::async, [&] { server_.reset(); });
  EXPECT_EQ(ended.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  context.TryCancel();  // A server that waits for the stream then ends after all.
}

TEST_F(OperationsTest, ReflectionDescribesHealth) {
  EXPECT_NE(google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
                "grpc.health.v1.Health"),
            nullptr);
}

// --- Tokens and quotas. ---

class TokenTest : public OperationsTest {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "/operations_test_tokens";
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

TEST_F(TokenTest, OnlyGoodTokensComeIn) {
  std::ostringstream log;
  auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::info);
  quiet_ = false;
  ServerOptions options;
  options.auth_tokens_file = path_;
  Start(options);
  EXPECT_TRUE(Translate(Of("alice")).ok());
  EXPECT_TRUE(Translate({absl::StrCat("bearer ", tokens_["bob"]), ""}).ok());
  const struct {
    Credentials credentials;
    const char* reason;
  } kCases[] = {
      {{"", ""}, "TOKEN_MISSING"},
      {{"Bearer", ""}, "TOKEN_MISSING"},
      {{absl::StrCat("Basic ", tokens_["alice"]), ""}, "TOKEN_MISSING"},
      {{"Bearer ", ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", tokens_["alice"], "0"), ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", tokens_["alice"].substr(1)), ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", std::string(5000, 'a')), ""}, "TOKEN_INVALID"},
      {Of("carol"), "TOKEN_EXPIRED"},
  };
  for (const auto& test : kCases) {
    const grpc::Status status = Translate(test.credentials);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << test.reason;
    EXPECT_EQ(Reason(status), test.reason);
  }
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  EXPECT_EQ(stub_->ListModels(&context, {}, &models).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  grpc::ClientContext unary;
  v1::TranslateResponse translation;
  EXPECT_EQ(stub_->Translate(&unary, {}, &translation).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Metric("leapstream_sessions_rejected_total{reason=\"TOKEN_EXPIRED\"}"), 1);

  // The token is revoked. Then the file cannot be read, which changes nothing.
  WriteFile(path_, lines_["bob"] + "\n");
  EXPECT_EQ(Reason(Translate(Of("alice"))), "TOKEN_INVALID");
  EXPECT_TRUE(Translate(Of("bob")).ok());
  WriteFile(path_, absl::StrCat("alice ", tokens_["alice"], "\n"));
  EXPECT_TRUE(Translate(Of("bob")).ok());
  EXPECT_EQ(Reason(Translate(Of("alice"))), "TOKEN_INVALID");
  server_.reset();
  spdlog::set_default_logger(before);
  EXPECT_THAT(log.str(), HasSubstr("TOKEN_MISSING"));
  EXPECT_THAT(log.str(), HasSubstr("principal=alice"));
  EXPECT_THAT(log.str(), HasSubstr("operations_test_tokens:1: expected"));
  for (const auto& token : tokens_) EXPECT_THAT(log.str(), Not(HasSubstr(token.second)));
}

TEST_F(TokenTest, ATokenThatIsTakenBackEndsItsSessions) {
  ServerOptions options;
  options.auth_tokens_file = path_;
  Start(options);
  grpc::ClientContext alices, bobs;
  auto alice = Open(&alices, Of("alice")), bob = Open(&bobs, Of("bob"));
  Response response;
  ASSERT_TRUE(alice->Read(&response) && bob->Read(&response));
  WriteFile(path_, lines_["bob"] + "\n");
  while (alice->Read(&response)) {
  }
  const grpc::Status status = alice->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Reason(status), "TOKEN_INVALID");
  WriteFile(path_, absl::StrCat(lines_["alice"], "\n", lines_["bob"], " 2001-01-01T00:00:00Z\n"));
  while (bob->Read(&response)) {
  }
  EXPECT_EQ(Reason(bob->Finish()), "TOKEN_EXPIRED");
  EXPECT_TRUE(Translate(Of("alice")).ok());
}

TEST_F(TokenTest, APrincipalHasItsQuotaAndNoMore) {
  ServerOptions options;
  options.auth_tokens_file = path_;
  options.max_sessions = 5;
  options.max_sessions_per_principal = 2;
  Start(options);
  grpc::ClientContext one, two;
  auto first = Open(&one, Of("alice")), second = Open(&two, Of("alice"));
  Response response;
  ASSERT_TRUE(first->Read(&response) && second->Read(&response));
  const grpc::Status status = Translate(Of("alice"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED");
  const auto failure = Find<google::rpc::QuotaFailure>(status);
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).subject(), "alice");
  EXPECT_TRUE(Translate(Of("bob")).ok()) << "others have their own";
  EXPECT_TRUE(Finish(first.get()).ok());
  EXPECT_TRUE(Eventually([&] { return Translate(Of("alice")).ok(); })) << "one is free again";
  two.TryCancel();
}

// An operator may forget to remove an old line. That must not make the token's good line useless.
TEST_F(TokenTest, ATokenOnSeveralLinesIsGoodIfOneOfThemIs) {
  // This line has another salt.
  const std::string other_line = *TokenFile::Entry("carol", tokens_["alice"]);
  const std::string& line = lines_["alice"];
  const std::string past = " 2001-01-01T00:00:00Z", future = " 2101-01-01T00:00:00Z";
  const absl::Time now = absl::Now();
  for (const std::string& file : {line + past + "\n" + line, line + "\n" + line + past,
                                  line + past + "\n" + line + future + "\n" + line + past,
                                  other_line + past + "\n" + line, line + "\n" + other_line + past,
                                  line + "\n" + other_line}) {
    WriteFile(path_, file + "\n");
    auto tokens = *TokenFile::Open(path_);
    const auto holder = tokens->HolderOf(tokens_["alice"], now);
    ASSERT_TRUE(holder.ok()) << file << holder.status();
    EXPECT_EQ(holder->principal, "alice") << file;
    EXPECT_TRUE(tokens->StillAccepts(holder->entry, now).ok()) << file;
    WriteFile(path_, line + past + "\n");
    EXPECT_EQ(tokens->StillAccepts(holder->entry, now).code(), absl::StatusCode::kUnauthenticated);
    EXPECT_FALSE(tokens->HolderOf(tokens_["alice"], now).ok());
  }
}

TEST_F(TokenTest, WhatIsNoFileIsNotWaitedFor) {
  const std::string fifo = testing::TempDir() + "/operations_test_fifo";
  unlink(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, testing::TempDir(), std::string("/dev/zero")}) {
    EXPECT_FALSE(TokenFile::Open(path).ok()) << path;
    ServerOptions options;
    options.listen = "localhost:0";
    options.resume_key_file = path;
    EXPECT_FALSE(Server::Start(options, {FakeModel()}).ok()) << path;
    options.resume_key_file.clear();
    options.tls.certificate = options.tls.key = path;
    EXPECT_FALSE(Server::Start(options, {FakeModel()}).ok()) << path;
  }
  // If the file becomes a pipe, it cannot be read, and the tokens from before stay.
  WriteFile(path_, lines_["alice"] + "\n");
  auto tokens = *TokenFile::Open(path_);
  ASSERT_EQ(rename(fifo.c_str(), path_.c_str()), 0);
  EXPECT_TRUE(tokens->HolderOf(tokens_["alice"], absl::Now()).ok());
}

TEST_F(TokenTest, EntriesAreChecked) {
  EXPECT_FALSE(TokenFile::Entry("two words", tokens_["alice"]).ok());
  EXPECT_FALSE(TokenFile::Entry("", tokens_["alice"]).ok());
  EXPECT_FALSE(TokenFile::Entry("alice", "guessable").ok());
  for (const std::string& bad :
       {std::string("alice"), std::string("alice 00 00"), lines_["alice"] + " tomorrow",
        lines_["alice"] + " 2030-01-01T00:00:00Z x", "x" + std::string(100, 'x') + lines_["alice"],
        std::string("alice zz") + lines_["alice"].substr(8)}) {
    WriteFile(path_, lines_["bob"] + "\n" + bad + "\n");
    const auto file = TokenFile::Open(path_);
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("operations_test_tokens:2:"));
  }
}

// --- TLS. ---

template <typename T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, std::integral_constant<void (*)(T*), Free>>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Certificate = Owned<X509, X509_free>;

Key NewKey() { return Key(EVP_EC_gen("P-256")); }

std::string Pem(EVP_PKEY* key) {
  const Owned<BIO, BIO_vfree> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}
std::string Pem(X509* certificate) {
  const Owned<BIO, BIO_vfree> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

// Issues a certificate signed by `issuer`. If `issuer` is null, the certificate is signed with its
// own key and is that of a CA.
Certificate Issue(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  static std::atomic<long> serial{1};
  Certificate certificate(X509_new());
  X509* const x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  if (*name != '\0') {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  }
  X509_set_issuer_name(x, X509_get_subject_name(issuer == nullptr ? x : issuer));
  X509_set_pubkey(x, key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer == nullptr ? x : issuer, x, nullptr, nullptr, 0);
  const auto extend = [&](int nid, const std::string& value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr && *name != '\0') {
    extend(NID_subject_alt_name, absl::StrCat("DNS:", name));
  }
  X509_sign(x, issuer == nullptr ? key : issuer_key, EVP_sha256());
  return certificate;
}

class TlsTest : public TokenTest {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "OpenSSL is not instrumented: all that comes through it looks like a race";
#endif
    TokenTest::SetUp();
    ca_key_ = NewKey();
    ca_ = Issue("test CA", ca_key_.get(), nullptr, nullptr);
    options_.tls.certificate = testing::TempDir() + "/operations_test.crt";
    options_.tls.key = testing::TempDir() + "/operations_test.key";
    IssueServer();
  }
  void IssueServer() {
    const Key key = NewKey();
    const Certificate certificate = Issue("localhost", key.get(), ca_.get(), ca_key_.get());
    server_pem_ = Pem(certificate.get());
    WriteFile(options_.tls.certificate, server_pem_);
    WriteFile(options_.tls.key, Pem(key.get()));
  }
  std::shared_ptr<grpc::ChannelCredentials> Trusting(X509* ca, const std::string& key = "",
                                                     const std::string& certificate = "") {
    return grpc::SslCredentials({Pem(ca), key, certificate});
  }

  ServerOptions options_;
  Key ca_key_;
  Certificate ca_;
  std::string server_pem_;
};

TEST_F(TlsTest, OnlyThoseWhoTrustTheServerTalkToIt) {
  Start(options_);
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "without TLS";
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate().ok());
  const Key other_key = NewKey();
  const Certificate other = Issue("other CA", other_key.get(), nullptr, nullptr);
  Connect(Trusting(other.get()));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "another CA";
}

TEST_F(TlsTest, CertificatesAreReadAgain) {
  Start(options_);
  Connect(Trusting(ca_.get()));
  ASSERT_TRUE(Translate().ok());
  ca_key_ = NewKey();
  ca_ = Issue("new CA", ca_key_.get(), nullptr, nullptr);
  IssueServer();
  EXPECT_TRUE(Eventually([&] {
    Connect(Trusting(ca_.get()));
    return Translate().ok();
  }));
}

// While an operator replaces the files, they may not fit together. Clients are served all the same.
TEST_F(TlsTest, FilesThatDoNotFitChangeNothing) {
  Start(options_);
  const Key other = NewKey();
  WriteFile(options_.tls.key, Pem(other.get()));
  for (int i = 0; i < 6; ++i) {
    absl::SleepFor(absl::Milliseconds(500));
    Connect(Trusting(ca_.get()));
    ASSERT_TRUE(Translate().ok()) << i;
  }
}

// gRPC itself would wait until somebody writes into the pipe, and the end of the server would wait
// for gRPC.
TEST_F(TlsTest, APipeInTheirPlaceHoldsNothingUp) {
  Start(options_);
  Connect(Trusting(ca_.get()));
  ASSERT_TRUE(Translate().ok());
  ASSERT_EQ(unlink(options_.tls.key.c_str()), 0);
  ASSERT_EQ(mkfifo(options_.tls.key.c_str(), 0600), 0);
  absl::SleepFor(absl::Seconds(4));  // The server has looked at the pipe meanwhile.
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate().ok());
  ca_key_ = NewKey();
  ca_ = Issue("new CA", ca_key_.get(), nullptr, nullptr);
  IssueServer();
  EXPECT_TRUE(Eventually([&] {
    Connect(Trusting(ca_.get()));
    return Translate().ok();
  }));
  unlink(options_.tls.key.c_str());
  ASSERT_EQ(mkfifo(options_.tls.key.c_str(), 0600), 0);
  absl::SleepFor(absl::Seconds(4));
  auto ended = std::async(std::launch::async, [&] { server_.reset(); });
  const bool in_time = ended.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  EXPECT_TRUE(in_time);
  if (!in_time) std::ofstream(options_.tls.key) << "\n";  // The server then ends after all.
  ended.wait();
  unlink(options_.tls.key.c_str());
}

TEST_F(TlsTest, ClientsNeedACertificateOfTheCa) {
  options_.tls.client_ca = testing::TempDir() + "/operations_test_clients.crt";
  options_.max_sessions_per_principal = 1;
  const Key clients_key = NewKey();
  const Certificate clients = Issue("clients' CA", clients_key.get(), nullptr, nullptr);
  WriteFile(options_.tls.client_ca, Pem(clients.get()));
  Start(options_);
  Connect(Trusting(ca_.get()));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "no certificate";
  const Key key = NewKey();
  const Certificate wrong = Issue("mallory", key.get(), ca_.get(), ca_key_.get());
  Connect(Trusting(ca_.get(), Pem(key.get()), Pem(wrong.get())));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "of another CA";
  const Certificate good = Issue("captioner", key.get(), clients.get(), clients_key.get());
  Connect(Trusting(ca_.get(), Pem(key.get()), Pem(good.get())));
  ASSERT_TRUE(Translate().ok());

  // The certificate's name is the principal, with a quota.
  grpc::ClientContext context;
  ASSERT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 0; }));
  auto stream = Open(&context);
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  grpc::ClientContext list;
  admin::v1::ListSessionsResponse sessions;
  ASSERT_TRUE(admin_->ListSessions(&list, {}, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).principal(), "captioner");
  EXPECT_EQ(Reason(Translate()), "QUOTA_EXCEEDED");
  EXPECT_TRUE(Finish(stream.get()).ok());
}

// The certificate's fingerprint stands for the name. Otherwise the holder would have no quota.
TEST_F(TlsTest, ACertificateWithoutANameHasAQuotaOfItsOwn) {
  options_.tls.client_ca = testing::TempDir() + "/operations_test_clients.crt";
  options_.max_sessions_per_principal = 1;
  const Key clients_key = NewKey();
  const Certificate clients = Issue("clients' CA", clients_key.get(), nullptr, nullptr);
  WriteFile(options_.tls.client_ca, Pem(clients.get()));
  Start(options_);
  std::vector<std::string> principals;
  for (int i = 0; i < 2; ++i) {
    const Key key = NewKey();
    const Certificate nameless = Issue("", key.get(), clients.get(), clients_key.get());
    Connect(Trusting(ca_.get(), Pem(key.get()), Pem(nameless.get())));
    grpc::ClientContext context;
    auto stream = Open(&context);
    Response response;
    ASSERT_TRUE(stream->Read(&response)) << stream->Finish().error_message();
    const grpc::Status status = Translate();
    EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED") << status.error_message();
    principals.push_back(Find<google::rpc::QuotaFailure>(status).violations(0).subject());
    EXPECT_THAT(principals.back(), testing::MatchesRegex("sha256:[0-9a-f]{64}"));
    EXPECT_TRUE(Finish(stream.get()).ok());
  }
  EXPECT_NE(principals[0], principals[1]);
}

TEST_F(TlsTest, TokensWorkOverIt) {
  options_.auth_tokens_file = path_;
  Start(options_);
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate(Of("alice")).ok());
  EXPECT_EQ(Reason(Translate()), "TOKEN_MISSING");
}

TEST_F(TlsTest, TheClientLibrarySpeaksTlsAndSendsItsToken) {
  options_.auth_tokens_file = path_;
  Start(options_);
  const std::string folder = testing::TempDir();
  WriteFile(folder + "/operations_test_ca.crt", Pem(ca_.get()));
  WriteFile(folder + "/operations_test_token", tokens_["alice"] + "\n");
  client::ClientOptions options;
  options.address = absl::StrCat("localhost:", server_->port());
  options.security.tls = true;
  options.security.ca_file = folder + "/operations_test_ca.crt";
  options.security.token_file = folder + "/operations_test_token";
  auto good = client::Client::Connect(options);
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_TRUE((*good)->ListModels().ok());
  EXPECT_TRUE((*good)->Probe(absl::Seconds(5)).ok());
  auto stream = (*good)->StartStream({});
  EXPECT_TRUE(stream->PushText(kText).ok());
  EXPECT_TRUE(stream->CloseSource().ok());
  while (stream->Next().has_value()) continue;
  EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();

  options.security.token_file.clear();
  auto nobody = client::Client::Connect(options);
  ASSERT_TRUE(nobody.ok()) << nobody.status();
  const absl::Status refused = (*nobody)->ListModels().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client::ErrorReason(refused), "TOKEN_MISSING");

  options.security = {};
  options.security.token_file = folder + "/operations_test_token";
  options.address = "example.org:50051";
  EXPECT_EQ(client::Client::Connect(options).status().code(), absl::StatusCode::kInvalidArgument)
      << "no token leaves this machine without TLS";
  options.security.token_file = folder;
  EXPECT_EQ(client::Client::Connect(options).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TlsTest, BadFilesAreErrorsAtStart) {
  const auto start = [&] {
    ServerOptions options = options_;
    options.listen = "localhost:0";
    return Server::Start(options, {FakeModel()}).status();
  };
  EXPECT_TRUE(start().ok());
  const Key other = NewKey();
  WriteFile(options_.tls.key, Pem(other.get()));
  EXPECT_THAT(std::string(start().message()), HasSubstr("is not the private key"));
  WriteFile(options_.tls.certificate, "no PEM");
  EXPECT_THAT(std::string(start().message()), HasSubstr("is no certificate chain"));
  options_.tls.certificate = testing::TempDir();
  EXPECT_THAT(std::string(start().message()), HasSubstr("Is a directory"));
}

// --- Admin and reload. ---

TEST_F(OperationsTest, SessionsAreListedWithoutText) {
  Start();
  grpc::ClientContext context;
  auto stream = Open(&context, {"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
  Request request;
  request.mutable_source()->set_text("secretword secretword secretword ");
  stream->Write(request);
  request.mutable_end_segment();
  stream->Write(request);
  Response response;
  while (stream->Read(&response) && !response.has_segment_completed()) continue;
  grpc::ClientContext list;
  admin::v1::ListSessionsResponse sessions;
  ASSERT_TRUE(admin_->ListSessions(&list, {}, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  const admin::v1::Session& session = sessions.sessions(0);
  EXPECT_EQ(session.session_id().size(), 32u);
  EXPECT_EQ(session.model(), "fake-en-de");
  EXPECT_EQ(session.policy(), "k=2");
  EXPECT_EQ(session.segments(), 1);
  EXPECT_GT(session.source_tokens(), 3);
  EXPECT_EQ(session.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_THAT(sessions.DebugString(), Not(HasSubstr("secret")));

  grpc::ClientContext ask;
  admin::v1::GetStatsResponse stats;
  ASSERT_TRUE(admin_->GetStats(&ask, {}, &stats).ok());
  EXPECT_EQ(stats.slots_used(), 1);
  EXPECT_FALSE(stats.draining());
  ASSERT_EQ(stats.models_size(), 1);
  EXPECT_EQ(stats.models(0).sessions(), 1);
  EXPECT_TRUE(Finish(stream.get()).ok());
}

TEST_F(OperationsTest, TheAdminServiceIsNotOnThePublicPort) {
  Start();
  auto outside = admin::v1::AdminService::NewStub(channel_);
  grpc::ClientContext context;
  admin::v1::DrainResponse response;
  EXPECT_EQ(outside->Drain(&context, {}, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  ServerOptions options;
  options.listen = "localhost:0";
  options.admin_listen = "0.0.0.0:0";
  EXPECT_EQ(Server::Start(options, {FakeModel()}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(OperationsTest, DrainCallsItsHook) {
  std::atomic<int> drains{0};
  ServerHooks hooks;
  hooks.drain = [&] { ++drains; };
  Start({}, hooks);
  grpc::ClientContext context;
  admin::v1::DrainResponse response;
  EXPECT_TRUE(admin_->Drain(&context, {}, &response).ok());
  EXPECT_EQ(drains, 1);
}

class ReloadTest : public OperationsTest {
 protected:
  void SetUp() override {
    ServerHooks hooks;
    hooks.load = [this](const std::string& name, const std::vector<std::shared_ptr<const Model>>&
                                                     loaded)
        -> absl::StatusOr<std::shared_ptr<const Model>> {
      EXPECT_EQ(name, "fake-en-de");
      loaded_ = loaded.size();
      if (same_) return loaded.front();
      if (fails_) return absl::InvalidArgumentError("weights.safetensors: cut short");
      MutexLock lock(&mutex_);
      return FakeModel(next_);
    };
    Start({}, hooks);
  }
  grpc::Status Reload(const std::string& name = "",
                      admin::v1::ReloadModelResponse* response = nullptr) {
    grpc::ClientContext context;
    admin::v1::ReloadModelRequest request;
    request.set_name(name);
    admin::v1::ReloadModelResponse own;
    return admin_->ReloadModel(&context, request, response == nullptr ? &own : response);
  }
  std::string Checksum() {
    grpc::ClientContext context;
    v1::ListModelsResponse models;
    stub_->ListModels(&context, {}, &models);
    return models.models_size() == 1 ? models.models(0).checksum() : "";
  }

  void SetNext(const FakeModelOptions& next) {
    MutexLock lock(&mutex_);
    next_ = next;
  }

  std::atomic<bool> fails_{false};
  std::atomic<bool> same_{false};
  std::atomic<size_t> loaded_{0};  // Versions in memory at the last reload.

 private:
  Mutex mutex_;
  FakeModelOptions next_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ReloadTest, NewSessionsGetTheNewModelAndOldOnesKeepTheirs) {
  grpc::ClientContext context;
  auto old = Open(&context);
  Response response;
  ASSERT_TRUE(old->Read(&response));
  EXPECT_EQ(response.started().model_checksum(), "fa4e");
  FakeModelOptions next;
  next.checksum = "0123";
  SetNext(next);
  admin::v1::ReloadModelResponse reloaded;
  ASSERT_TRUE(Reload("", &reloaded).ok());
  ASSERT_EQ(reloaded.models_size(), 1);
  EXPECT_EQ(reloaded.models(0).old_checksum(), "fa4e");
  EXPECT_EQ(reloaded.models(0).new_checksum(), "0123");
  EXPECT_EQ(Checksum(), "0123");
  grpc::ClientContext another;
  auto fresh = Open(&another);
  ASSERT_TRUE(fresh->Read(&response));
  EXPECT_EQ(response.started().model_checksum(), "0123");
  EXPECT_EQ(Metric("leapstream_sessions_active{model=\"fake-en-de\"}"), 2);
  std::string text;
  EXPECT_TRUE(Finish(old.get(), &text).ok()) << "it finishes on the old weights";
  EXPECT_FALSE(text.empty());
  EXPECT_TRUE(Finish(fresh.get()).ok());
  EXPECT_EQ(Metric("leapstream_model_reloads_total{model=\"fake-en-de\",result=\"ok\"}"), 1);
}

// An unchanged model is not loaded again, and a version that comes back is still there.
TEST_F(ReloadTest, TheSameModelStays) {
  grpc::ClientContext context;
  auto old = Open(&context);
  Response response;
  ASSERT_TRUE(old->Read(&response));
  same_ = true;
  admin::v1::ReloadModelResponse reloaded;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Reload("", &reloaded).ok());
  EXPECT_EQ(reloaded.models(0).old_checksum(), "fa4e");
  EXPECT_EQ(reloaded.models(0).new_checksum(), "fa4e");
  EXPECT_EQ(loaded_, 1u) << "there is one version of it";
  EXPECT_TRUE(Finish(old.get()).ok());
}

TEST_F(ReloadTest, AModelOfSpeechIsTriedWithAudio) {
  FakeModelOptions next;
  next.speech = true;
  next.checksum = "5bee";
  SetNext(next);
  const grpc::Status status = Reload();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Checksum(), "5bee");
}

TEST_F(ReloadTest, AModelThatCannotBeUsedChangesNothing) {
  fails_ = true;
  grpc::Status status = Reload();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Reason(status), "RELOAD_FAILED");
  EXPECT_THAT(status.error_message(), HasSubstr("cut short"));
  fails_ = false;
  FakeModelOptions broken;
  broken.fails = true;  // It loads, but cannot translate.
  broken.checksum = "bad";
  SetNext(broken);
  EXPECT_EQ(Reload().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  FakeModelOptions renamed;
  renamed.name = "another";
  SetNext(renamed);
  EXPECT_THAT(Reload().error_message(), HasSubstr("must keep the name"));
  EXPECT_EQ(Checksum(), "fa4e");
  EXPECT_TRUE(Translate().ok());
  EXPECT_EQ(Metric("leapstream_model_reloads_total{model=\"fake-en-de\",result=\"failed\"}"), 3);
  EXPECT_EQ(Reload("nobody").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ReloadTest, NoSessionNoticesReloadsUnderLoad) {
  std::string expected;
  ASSERT_TRUE(Translate({}, &expected).ok());
  std::atomic<bool> over{false};
  std::atomic<int> sessions{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!over) {
        std::string text;
        const grpc::Status status = Translate({}, &text);
        EXPECT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(text, expected);
        ++sessions;
      }
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Reload("fake-en-de").ok());
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GT(sessions, 4);
}

// --- Values from outside. ---

TEST_F(OperationsTest, LongAndOddValuesAreQuotedShort) {
  Start();
  std::string evil = "\n\x01";
  evil.append(10000, 'x');
  Request request;
  request.mutable_config()->set_model(evil);
  grpc::ClientContext one;
  grpc::Status status = Finish(Open(&one, {}, request).get());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND) << status.error_message();
  EXPECT_EQ(Reason(status), "MODEL_NOT_FOUND");
  EXPECT_THAT(status.error_message(), HasSubstr("\"\\n\\x01xxx"));
  EXPECT_THAT(status.error_message(), HasSubstr("...\" (10002 bytes)"));
  request.mutable_config()->set_model("fake-en-de");
  request.mutable_config()->set_source_language_code(std::string(30000, 'q'));
  grpc::ClientContext two;
  status = Finish(Open(&two, {}, request).get());
  EXPECT_EQ(Reason(status), "LANGUAGE_MISMATCH") << status.error_message();
}

TEST_F(OperationsTest, SpecialPiecesAreNoSource) {
  Start();
  for (const char* piece : {"</s>", "<pad>"}) {
    Request start = StartRequest();
    start.mutable_config()->set_input_format(v1::INPUT_FORMAT_PIECES);
    grpc::ClientContext context;
    auto stream = Open(&context, {}, start);
    Request request;
    request.mutable_source()->mutable_pieces()->add_pieces(piece);
    stream->Write(request);
    stream->WritesDone();
    for (Response response; stream->Read(&response);) continue;
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(Reason(status), "INVALID_SOURCE") << piece;
    EXPECT_THAT(status.error_message(), HasSubstr(piece));
  }
}

TEST(QuotedTest, CutsBetweenCharacters) {
  EXPECT_EQ(Quoted("a\"b\n"), "\"a\\\"b\\n\"");
  EXPECT_EQ(Quoted("für"), "\"für\"");
  const std::string text = std::string(99, 'a') + "ü" + "bcd";
  EXPECT_EQ(Quoted(text), "\"" + std::string(99, 'a') + "...\" (104 bytes)");
  EXPECT_EQ(Quoted("a\\b"), "\"a\\\\b\"");
  EXPECT_EQ(Quoted("abcdef", 3), "\"abc...\" (6 bytes)");
}

TEST(QuotedTest, NothingIsDisguised) {
  EXPECT_EQ(Quoted("a\x1b[1A\u202eb\u0085\U000e0041"), "\"a\\x1b[1A\\u202eb\\u0085\\U000e0041\"");
  EXPECT_EQ(Quoted("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(OneLine("a\r\n\tb", 100), "a\\r\\n\\tb");
  EXPECT_EQ(OneLine("aüb", 2), "a... (4 bytes)");
}

TEST(LoggingTest, EachJsonLineIsAnObject) {
  const auto before = spdlog::default_logger();
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kJson);
  spdlog::warn("a \"quoted\" {}\n{}", "line", "\xff");
  LogEvent(
      "session",
      {{"session", "abc"}, {"trace_id", ""}, {"peer", "a\"b"}, {"tokens", 3}, {"seconds", 1.5}});
  spdlog::debug("not this");
  FlushOutput();
  const std::string log = testing::internal::GetCapturedStderr();
  const std::vector<std::string> lines = absl::StrSplit(log, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u) << log;
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["level"], "warning");
  EXPECT_THAT(first["message"].get<std::string>(), HasSubstr("a \"quoted\" line\n"));
  const auto second = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(second["message"], "session");
  EXPECT_EQ(second["session"], "abc");
  EXPECT_EQ(second["peer"], "a\"b");
  EXPECT_EQ(second["tokens"], 3);
  EXPECT_EQ(second["seconds"], 1.5);
  EXPECT_FALSE(second.contains("trace_id"));
  absl::Time time;
  EXPECT_TRUE(
      absl::ParseTime(absl::RFC3339_full, second["time"].get<std::string>(), &time, nullptr));
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kText);
  LogEvent("session", {{"session", "a\nb"}, {"trace_id", ""}, {"tokens", 3}});
  FlushOutput();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("session session=a\\nb tokens=3\n"));
  spdlog::set_default_logger(before);
}

// No value can be taken for another line, another field or other text.
TEST(LoggingTest, NothingFromOutsideLooksLikeAnotherLine) {
  const std::string values[] = {
      "x\n[2026-01-01 00:00:00.000] [leapstream] [info] session principal=alice",
      "x\r\x1b[2K\x1b[1Aalice",
      "x principal=alice status=OK",
      "x\" principal=alice",
      "abc\u202ecba\u2066x\u2028y\u0085z\u200b\ufeff",
      "\xff\xfe\xc3",
      std::string(1 << 20, 'a'),
  };
  const auto before = spdlog::default_logger();
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    for (const std::string& value : values) {
      testing::internal::CaptureStderr();
      SetUpLogging("info", format);
      LogEvent("session", {{"principal", value}, {"model", "m"}, {"status", "OK"}});
      spdlog::warn("refused {}", value);
      FlushOutput();
      const std::string log = testing::internal::GetCapturedStderr();
      const std::vector<std::string> lines = absl::StrSplit(log, '\n', absl::SkipEmpty());
      ASSERT_EQ(lines.size(), 2u) << log;
      for (const std::string& line : lines) {
        EXPECT_LE(line.size(), 20000u);
        for (size_t at = 0; at < line.size();) {
          uint32_t character = 0;
          const size_t length = Utf8Character(absl::string_view(line).substr(at), &character);
          ASSERT_GT(length, 0u) << line;
          EXPECT_FALSE(IsDisguise(character)) << line;
          at += length;
        }
      }
      if (format == LogFormat::kJson) {
        EXPECT_EQ(nlohmann::json::parse(lines[0])["status"], "OK");
      } else {
        EXPECT_THAT(lines[0], Not(HasSubstr("x principal=alice status=OK model")));
        EXPECT_THAT(lines[0], testing::EndsWith(" model=m status=OK"));
      }
    }
  }
  spdlog::set_default_logger(before);
}

TEST(TraceTest, OnlyATraceParentHasAnId) {
  const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
  EXPECT_EQ(TraceIdOf("00-" + id + "-00f067aa0ba902b7-01"), id);
  EXPECT_EQ(TraceIdOf("cc-" + id + "-00f067aa0ba902b7-01-future"), id);
  for (const std::string& bad :
       {std::string(), id, "00-" + id + "-00f067aa0ba902b7-01x",
        "ff-" + id + "-00f067aa0ba902b7-01", "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01",
        "00-" + id + "-0000000000000000-01",
        std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")}) {
    EXPECT_THAT(TraceIdOf(bad), IsEmpty()) << bad;
  }
}

}  // namespace
}  // namespace leapstream
