// Metrics, probes and draining.
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <future>
#include <regex>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/server/operations_fixture.h"

namespace leapstream {
namespace {

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

}  // namespace
}  // namespace leapstream
