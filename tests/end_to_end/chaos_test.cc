// A service of several servers behind HAProxy or Envoy, as real processes, with many clients at
// once.
// CHAOS_SEED repeats a run; CHAOS_SESSIONS and CHAOS_SENTENCES make it larger.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/testing/proxies.h"

namespace leapstream {
namespace {

using client::Client;

constexpr int kServers = 3;

class ChaosTest : public testing::Test {
 protected:
  void StartServers(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--resume-key-file", WriteResumeKey(folder_)});
    for (int i = 0; i < kServers; ++i) {
      metrics_ports_.push_back(FreePort());
      std::vector<std::string> own = flags;
      own.insert(own.end(),
                 {"--metrics-listen", absl::StrCat("127.0.0.1:", metrics_ports_.back())});
      servers_.push_back(std::make_unique<ServerProcess>(folder_, absl::StrCat("server", i), own));
      ASSERT_NO_FATAL_FAILURE(servers_.back()->StartAndWait());
    }
  }

  // Starts one more session, of so many sentences, at five words a second.
  void Speak(int sentences, absl::Duration pause = absl::ZeroDuration()) {
    std::vector<Sentence> own;
    for (int j = 0; j < sentences; ++j) {
      own.push_back(all_[(speakers_.size() * 3 + j) % all_.size()]);
    }
    speakers_.push_back(std::make_unique<Speaker>(*client_, own, 5, pause));
  }
  // Expects what the name says, and prints the moves and gaps.
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
  const std::vector<Sentence> all_ = ReadSentences();
  TestFolder folder_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
  std::vector<int> metrics_ports_;  // The ports of servers_.
  std::unique_ptr<Client> client_;
  std::vector<std::unique_ptr<Speaker>> speakers_;
  std::vector<absl::Duration> gaps_;  // Times from an interruption to the next text.
  int moves_ = 0;
};

class BehindProxyTest : public ChaosTest, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    program_ = FindProgram(GetParam());
    if (program_.empty()) {
      ASSERT_NE(GetParam(), "haproxy") << "is not installed; ./dev setup does it";
      GTEST_SKIP() << "there is no " << GetParam() << " in $PATH; see docs/deployment.md";
    }
    std::vector<std::string> flags;
    if (GetParam() == "haproxy") flags = {"--drain-delay", ShippedDrainDelay()};
    ASSERT_NO_FATAL_FAILURE(StartServers(flags));
    ASSERT_NO_FATAL_FAILURE(StartProxy());
  }
  // Starts it on a free port in front of the servers, with the configuration in docker/.
  void StartProxy() {
    std::vector<ProxiedServer> servers;
    for (int i = 0; i < kServers; ++i) servers.push_back({servers_[i]->port(), metrics_ports_[i]});
    const int port = FreePort();
    const std::string config = folder_ / "proxy.yaml", log = folder_ / "proxy.log";
    std::ofstream(config) << (GetParam() == "haproxy" ? ShippedHaproxyConfig(port, servers)
                                                      : ShippedEnvoyConfig(port, servers));
    ASSERT_NO_FATAL_FAILURE(proxy_.Start(ProxyCommand(program_, config), log));
    auto client = Client::Connect({absl::StrCat("127.0.0.1:", port), absl::ZeroDuration()});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    ASSERT_TRUE(client_->Probe(absl::Seconds(10)).ok()) << ReadFile(log);
  }
  // Lets sixty sessions speak, every other with a pause after each sentence. Returns one of the
  // servers, a moment later.
  ServerProcess& OneOfThemWhileAllSpeak(int sentences, absl::Duration pause) {
    for (int i = 0; i < FromEnvironment("CHAOS_SESSIONS", 60); ++i) {
      Speak(FromEnvironment("CHAOS_SENTENCES", sentences), i % 2 * pause);
    }
    absl::SleepFor(absl::Milliseconds(1000 + static_cast<int64_t>(random_() % 1500)));
    return *servers_[random_() % servers_.size()];
  }

 private:
  std::string program_;
  Process proxy_;
};

TEST_P(BehindProxyTest, AKilledServerCostsNoText) {
  OneOfThemWhileAllSpeak(2, absl::ZeroDuration()).Kill();
  ExpectFaultlessTranscripts(absl::StrCat("kill -9 behind ", GetParam()));
  EXPECT_FALSE(gaps_.empty()) << "nobody was there to notice";
  EXPECT_LT(Quantile(gaps_, 0.95), absl::Seconds(2));
}

TEST_P(BehindProxyTest, AStoppedServerIsNoError) {
  ServerProcess& stopped = OneOfThemWhileAllSpeak(5, absl::Seconds(1));
  stopped.Signal(SIGTERM);
  // New sessions come before, while and after the others leave.
  for (int i = 0; i < 40; ++i) {
    absl::SleepFor(absl::Milliseconds(200));
    Speak(1);
  }
  ExpectFaultlessTranscripts(absl::StrCat("SIGTERM behind ", GetParam()));
  EXPECT_GT(moves_, 0) << "nobody was there to notice";
  EXPECT_TRUE(gaps_.empty()) << gaps_.size() << " were interrupted";
  EXPECT_EQ(stopped.Wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Proxies, BehindProxyTest, testing::Values("haproxy", "envoy"),
                         [](const auto& info) { return info.param; });

TEST_F(ChaosTest, RefusesQuicklyWhenFullAndServesOn) {
  ServerProcess server(folder_, "full", {"--max-sessions", "10"});
  server.StartAndWait();
  client_ = *Client::Connect({server.address(), absl::Seconds(10)});
  client::StreamOptions options = LikeTheReference();
  options.resume_timeout = absl::ZeroDuration();
  std::vector<std::unique_ptr<client::Stream>> served;
  for (int i = 0; i < 10; ++i) {
    served.push_back(client_->StartStream(options));
    ASSERT_TRUE(served.back()->Next().has_value());  // This event is Started.
  }
  std::vector<absl::Duration> refusals;
  for (int i = 0; i < 20; ++i) {
    const absl::Time start = absl::Now();
    const absl::Status status = client_->StartStream(options)->Wait();
    refusals.push_back(absl::Now() - start);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(client::ErrorReason(status), "SERVER_FULL");
  }
  absl::PrintF("refused after p50 %s, max %s\n", absl::FormatDuration(Quantile(refusals, 0.5)),
               absl::FormatDuration(Quantile(refusals, 1)));
  EXPECT_LT(Quantile(refusals, 0.5), absl::Milliseconds(50));
  for (const auto& stream : served) {
    EXPECT_TRUE(stream->PushText("go on").ok());
    EXPECT_TRUE(stream->CloseSource().ok());
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
  }
  EXPECT_TRUE(client_->StartStream(options)->CloseSource().ok());
}

// Clients come and go in all ways. CHAOS_SOAK_SECONDS sets the duration.
TEST_F(ChaosTest, MemoryAndDescriptorsStayFlat) {
  ServerProcess server(folder_, "soak");
  server.StartAndWait();
  const auto arrive = [&](uint64_t seed, absl::Time until) {
    std::mt19937_64 random(seed);
    while (absl::Now() < until) {
      auto client = *Client::Connect({server.address(), absl::Seconds(10)});
      auto stream = client->StartStream(LikeTheReference());
      const Sentence& sentence = all_[random() % all_.size()];
      const auto kind = random() % 4;
      EXPECT_TRUE(stream->PushText(sentence.source).ok());
      if (kind == 0) continue;  // It is gone in the middle of a word.
      if (kind == 1) {
        stream->Next();
        stream->Cancel();
        continue;
      }
      EXPECT_TRUE(stream->CloseSource().ok());
      std::string text;
      while (const auto event = stream->Next()) {
        if (const auto* delta = std::get_if<client::Delta>(&*event)) text += delta->text;
      }
      EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
      EXPECT_EQ(text, sentence.translation);
    }
  };
  const auto soak = [&](absl::Duration time) {
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back(arrive, random_(), absl::Now() + time);
    }
    for (std::thread& client : clients) client.join();
    absl::SleepFor(absl::Milliseconds(300));  // Time for the server to see that they left.
  };
  const absl::Duration time = absl::Seconds(FromEnvironment("CHAOS_SOAK_SECONDS", 3));
  soak(time);
  const int64_t memory = ResidentMemory(server.pid()), descriptors = Descriptors(server.pid());
  soak(time);
  const int64_t memory_after = ResidentMemory(server.pid());
  absl::PrintF("resident memory %d KiB, then %d KiB; descriptors %d, then %d\n", memory,
               memory_after, descriptors, Descriptors(server.pid()));
  ASSERT_GT(memory, 0);
  EXPECT_LT(memory_after, memory + memory / 10);
  EXPECT_LE(Descriptors(server.pid()), descriptors + 2);
}

}  // namespace
}  // namespace leapstream
