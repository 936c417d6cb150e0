// A server that runs out of descriptors. It is a real process with a limit of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/admin.h"
#include "client/client.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/plain_connections.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DescriptorsTest : public testing::Test {
 protected:
  // Starts it with at most `limit` descriptors, "SOFT:HARD" or one number for both.
  void Start(const std::string& limit, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--metrics-listen", "127.0.0.1:0"});
    server_ = std::make_unique<ServerProcess>(folder_, "server", std::move(flags));
    server_->set_wrapper({"prlimit", absl::StrCat("--nofile=", limit)});
    ASSERT_NO_FATAL_FAILURE(server_->StartAndWait());
    http_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port_of("metrics"));
    ASSERT_TRUE(Eventually("/readyz", 200));
  }
  std::unique_ptr<client::Client> Connect() {
    auto client = client::Client::Connect({server_->address(), absl::Seconds(60)});
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }
  // Waits for the page to have this status; false: it has not got it in a minute.
  bool Eventually(const std::string& page, int status) {
    for (const absl::Time end = absl::Now() + absl::Minutes(1); absl::Now() < end;) {
      const auto answer = http_->Get(page.c_str());
      if (answer && answer->status == status) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  }
  static void ExpectRightTranslation(client::Client& client, const std::vector<Sentence>& all) {
    Speaker speaker(client, {all[0], all[1]}, /*words_per_second=*/50);
    speaker.Join();
    speaker.ExpectFaultlessTranscript();
  }
  // Takes all descriptors, gives them back, and expects the server to be as before.
  void ExpectTheServerSurvives(int connections) {
    ASSERT_TRUE(PlainConnections::MakeRoom(static_cast<rlim_t>(connections)));
    const std::vector<Sentence> all = ReadSentences();
    const std::unique_ptr<client::Client> before = Connect();
    ASSERT_NE(before, nullptr);
    ExpectRightTranslation(*before, all);
    PlainConnections flood(server_->port());
    ASSERT_NO_FATAL_FAILURE(flood.Open(connections));
    EXPECT_TRUE(flood.LastIsClosed()) << "it waits for a descriptor";
    // Sessions that began before go on, and health is that of the port.
    ExpectRightTranslation(*before, all);
    EXPECT_TRUE(Eventually("/readyz", 503));
    EXPECT_TRUE(Eventually("/healthz", 503));
    EXPECT_THAT(http_->Get("/readyz")->body, HasSubstr("no descriptor"));
    EXPECT_EQ(http_->Get("/metrics")->status, 200) << "there is a reserve";
    EXPECT_THAT(server_->log(), HasSubstr("the gRPC port refuses a connection"));
    flood.Close();
    EXPECT_TRUE(Eventually("/readyz", 200));
    EXPECT_TRUE(Eventually("/healthz", 200));
    const std::unique_ptr<client::Client> after = Connect();
    ASSERT_NE(after, nullptr);
    ExpectRightTranslation(*after, all);
    EXPECT_THAT(server_->log(), Not(HasSubstr("Failed accept4")));
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<httplib::Client> http_;
};

TEST_F(DescriptorsTest, Of64AllAreTakenAndGivenBack) {
  ASSERT_NO_FATAL_FAILURE(Start("64"));
  ExpectTheServerSurvives(80);
}

TEST_F(DescriptorsTest, Of1024AllAreTakenAndGivenBack) {
  ASSERT_NO_FATAL_FAILURE(Start("1024"));
  ExpectTheServerSurvives(1064);
}

TEST_F(DescriptorsTest, TheAdminAndHttpPortsHaveAReserveAndComeBackAsWell) {
  ASSERT_NO_FATAL_FAILURE(Start("64", {"--admin-listen", "127.0.0.1:0"}));
  const std::string admin = absl::StrCat("127.0.0.1:", server_->port_of("admin"));
  PlainConnections flood(server_->port());
  ASSERT_NO_FATAL_FAILURE(flood.Open(80));
  EXPECT_TRUE(flood.LastIsClosed());
  EXPECT_TRUE(client::AdminClient(admin).GetStats().ok()) << "the gRPC port is full, not this one";
  flood.Close();
  for (const char* port : {"admin", "metrics"}) {
    PlainConnections other(server_->port_of(port));
    ASSERT_NO_FATAL_FAILURE(other.Open(80));
    EXPECT_TRUE(other.LastIsClosed() || std::string(port) == "metrics") << port;
    EXPECT_TRUE(Eventually("/readyz", 200)) << port;
    other.Close();
  }
  EXPECT_TRUE(Eventually("/readyz", 200));
  EXPECT_TRUE(client::AdminClient(admin).GetStats().ok());
}

TEST_F(DescriptorsTest, ConnectionsThatNeverSpeakHttp2AreClosed) {
  ASSERT_NO_FATAL_FAILURE(Start("64"));
  PlainConnections flood(server_->port());
  ASSERT_NO_FATAL_FAILURE(flood.Open(80));
  EXPECT_TRUE(Eventually("/readyz", 503));
  EXPECT_TRUE(Eventually("/readyz", 200)) << "without the flood's closing";
}

TEST_F(DescriptorsTest, TheSoftLimitIsRaised) {
  ASSERT_NO_FATAL_FAILURE(Start("64:2000"));
  EXPECT_EQ(MetricIn(http_->Get("/metrics")->body, "process_max_fds"), 2000);
}

TEST_F(DescriptorsTest, SessionsAreNoMoreThanDescriptors) {
  ASSERT_NO_FATAL_FAILURE(Start("64"));
  const double slots = MetricIn(http_->Get("/metrics")->body, "leapstream_slots");
  EXPECT_GT(slots, 0);
  EXPECT_LT(slots, 48);
  ASSERT_NO_FATAL_FAILURE(Start("64", {"--max-sessions", "1000"}));
  EXPECT_EQ(MetricIn(http_->Get("/metrics")->body, "leapstream_slots"), slots);
  EXPECT_THAT(server_->log(), HasSubstr("instead of 1000 (max_sessions)"));
  ASSERT_NO_FATAL_FAILURE(Start("64", {"--max-sessions", "3"}));
  EXPECT_EQ(MetricIn(http_->Get("/metrics")->body, "leapstream_slots"), 3);
}

// As many sessions as there are slots can come over as many connections.
TEST_F(DescriptorsTest, EachSessionMayHaveAConnectionOfItsOwn) {
  ASSERT_NO_FATAL_FAILURE(Start("64"));
  const auto slots =
      static_cast<int>(MetricIn(http_->Get("/metrics")->body, "leapstream_slots"));
  std::vector<std::unique_ptr<client::Client>> clients;
  std::vector<std::unique_ptr<client::Stream>> streams;
  for (int i = 0; i < slots; ++i) {
    clients.push_back(Connect());
    ASSERT_NE(clients.back(), nullptr) << i << " of " << slots;
    streams.push_back(clients.back()->StartStream(LikeTheReference()));
    ASSERT_TRUE(streams.back()->Next().has_value()) << streams.back()->Wait();
  }
  EXPECT_EQ(MetricIn(http_->Get("/metrics")->body, "leapstream_slots_used"), slots);
}

TEST_F(DescriptorsTest, SlowHttpClientsHoldNoProbeUp) {
  ASSERT_NO_FATAL_FAILURE(Start("256"));
  for (const char* sent : {"", "GET /rea", "GET /metrics HTTP/1.1\r\n\r\n"}) {
    PlainConnections slow(server_->port_of("metrics"));
    ASSERT_NO_FATAL_FAILURE(slow.Open(200, sent));
    for (const char* page : {"/readyz", "/healthz", "/metrics"}) {
      const auto answer = http_->Get(page);
      ASSERT_TRUE(answer) << page << " beside those who send \"" << sent << "\"";
      EXPECT_EQ(answer->status, 200);
    }
  }
}

}  // namespace
}  // namespace leapstream
