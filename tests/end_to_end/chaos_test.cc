// A service of several servers behind HAProxy, as real processes, with many clients at once.
// LEAPSTREAM_SEED repeats a run; LEAPSTREAM_CHAOS_SESSIONS and _SENTENCES make it larger.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"

namespace leapstream {
namespace {

using client::Client;

constexpr int kServers = 3;

int FromEnvironment(const char* name, int otherwise) {
  const char* const given = std::getenv(name);
  return given != nullptr ? std::atoi(given) : otherwise;
}

absl::Duration Quantile(std::vector<absl::Duration> values, double q) {
  if (values.empty()) return absl::ZeroDuration();
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

class ChaosTest : public testing::Test {
 protected:
  void StartServers(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--resume-key-file", WriteResumeKey(folder_)});
    for (int i = 0; i < kServers; ++i) {
      servers_.push_back(
          std::make_unique<ServerProcess>(folder_, absl::StrCat("server", i), flags));
      servers_.back()->StartAndWait();
    }
  }

  // HAProxy on a free port in front of the servers, with the rules of docker/haproxy/haproxy.cfg.
  void StartProxy() {
    if (std::system("command -v haproxy > /dev/null") != 0) {
      GTEST_SKIP() << "haproxy is not installed; ./dev setup does it";
    }
    std::string config =
        "global\n"
        "    log stdout format raw local0\n"
        "defaults\n"
        "    mode http\n"
        "    log global\n"
        "    option httplog\n"
        "    timeout connect 2s\n"
        "    timeout client 60s\n"
        "    timeout server 60s\n"
        "    retries 3\n"
        "    retry-on conn-failure empty-response response-timeout\n"
        "    option redispatch 1\n"
        "frontend grpc\n"
        "    bind ADDRESS proto h2\n"
        "    default_backend leapstream\n"
        "backend leapstream\n"
        "    balance leastconn\n"
        "    default-server proto h2 check inter 500ms fall 2 rise 1\n";
    for (int i = 0; i < kServers; ++i) {
      absl::StrAppend(&config, "    server s", i, " ", servers_[i]->address(), "\n");
    }
    // A port that is free now: a server started on port 0 and ended.
    ServerProcess probe(folder_, "probe");
    probe.StartAndWait();
    proxy_address_ = probe.address();
    probe.Kill();
    std::ofstream(folder_ / "haproxy.cfg")
        << absl::StrReplaceAll(config, {{"ADDRESS", proxy_address_}});
    proxy_.Start({"haproxy", "-db", "-f", folder_ / "haproxy.cfg"}, folder_ / "haproxy.log");
    auto client = Client::Connect({proxy_address_, absl::ZeroDuration()});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    ASSERT_TRUE(client_->Probe(absl::Seconds(10)).ok()) << ReadFile(folder_ / "haproxy.log");
  }

  void Speak(double words_per_second) {
    const int sentences = FromEnvironment("LEAPSTREAM_CHAOS_SENTENCES", 2);
    const std::vector<Sentence> all = ReadSentences();
    for (int i = 0; i < FromEnvironment("LEAPSTREAM_CHAOS_SESSIONS", 60); ++i) {
      std::vector<Sentence> own;
      for (int j = 0; j < sentences; ++j) own.push_back(all[(i * 3 + j) % all.size()]);
      speakers_.push_back(std::make_unique<Speaker>(*client_, own, words_per_second));
    }
  }
  // Prints what happened.
  void ExpectFaultlessTranscripts(absl::string_view what) {
    int moves = 0;
    for (const auto& speaker : speakers_) {
      speaker->Join();
      speaker->ExpectFaultlessTranscript();
      moves += speaker->moves();
      for (const auto& interruption : speaker->interruptions()) {
        gaps_.push_back(interruption.until_text);
      }
    }
    absl::PrintF("%s: %d sessions, %d moves, %d interruptions; gap p50 %s, p95 %s, max %s\n", what,
                 speakers_.size(), moves, gaps_.size(), absl::FormatDuration(Quantile(gaps_, 0.5)),
                 absl::FormatDuration(Quantile(gaps_, 0.95)),
                 absl::FormatDuration(Quantile(gaps_, 1)));
    moves_ = moves;
  }

  std::mt19937_64 random_{RandomSeed()};
  TestFolder folder_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
  Process proxy_;
  std::string proxy_address_;
  std::unique_ptr<Client> client_;
  std::vector<std::unique_ptr<Speaker>> speakers_;
  std::vector<absl::Duration> gaps_;  // From an interruption to the next text.
  int moves_ = 0;
};

TEST_F(ChaosTest, KillBehindHaproxy) {
  StartServers();
  StartProxy();
  if (IsSkipped()) return;
  Speak(5);
  absl::SleepFor(absl::Milliseconds(1500 + static_cast<int64_t>(random_() % 2000)));
  servers_[random_() % servers_.size()]->Kill();
  ExpectFaultlessTranscripts("kill -9");
  EXPECT_GE(gaps_.size(), speakers_.size() / 6);
  EXPECT_LT(Quantile(gaps_, 0.95), absl::Seconds(2));
}

TEST_F(ChaosTest, StopBehindHaproxy) {
  StartServers();
  StartProxy();
  if (IsSkipped()) return;
  Speak(5);
  absl::SleepFor(absl::Milliseconds(1500 + static_cast<int64_t>(random_() % 2000)));
  ServerProcess& stopped = *servers_[random_() % servers_.size()];
  stopped.Signal(SIGTERM);
  ExpectFaultlessTranscripts("SIGTERM");
  EXPECT_GE(moves_, static_cast<int>(speakers_.size() / 6));
  EXPECT_EQ(stopped.Wait(), 0);
}

}  // namespace
}  // namespace leapstream
