// `leapstream load` against a server, as an operator runs both.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <signal.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream file(folder_ / "source");
    for (const Sentence& sentence : ReadSentences()) file << sentence.source << "\n";
  }
  // Runs it and returns its exit status; output_ has the output.
  int Load(const ServerProcess& server, int sessions, const std::vector<std::string>& more = {}) {
    Process load;
    std::vector<std::string> command = {
        LEAPSTREAM_BINARY_DIR "/bin/leapstream", "load", "--server", server.address(), "--source",
        folder_ / "source", "--sessions", absl::StrCat(sessions), "--rate", "10", "--seconds", "2"};
    command.insert(command.end(), more.begin(), more.end());
    load.Start(command, folder_ / "output");
    const int status = load.Wait();
    output_ = ReadFile(folder_ / "output");
    return status;
  }

  TestFolder folder_;
  std::string output_;
};

TEST_F(LoadTest, AllTextsAreRightAndTheFiguresAreThere) {
  ServerProcess server(folder_, "server", {"--compute-type", "int8", "--max-sessions", "8"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  EXPECT_THAT(server.log(), HasSubstr("int8) from"));
  EXPECT_THAT(server.log(), HasSubstr("memory for the states of 8 sessions is taken"));
  EXPECT_EQ(Load(server, 4), 0) << output_;
  EXPECT_THAT(output_, ContainsRegex("sessions sustained: [0-4] of 4, at 10 words per second"));
  EXPECT_THAT(output_, ContainsRegex("first token  p50 [0-9.]+ ms  p95 [0-9.]+ ms  p99 [0-9.]+"));
  EXPECT_THAT(output_, ContainsRegex("every token  p50 [0-9.]+ ms  p95 [0-9.]+ ms  p99 [0-9.]+"));
  // There are 4 sessions x 20 words.
  EXPECT_THAT(output_,
              ContainsRegex("[0-9.]+ tokens/s: [0-9]{2,3} in [0-9.]+ s, [0-9]+ sentences"));
  EXPECT_THAT(output_, ContainsRegex("average lagging: [0-9]*[1-9][0-9.]* source tokens"));
  EXPECT_THAT(output_, HasSubstr("wrong texts: 0\n"));
  EXPECT_THAT(output_, Not(HasSubstr("failed sessions")));
}

TEST_F(LoadTest, AnInterruptEndsTheMeasurementAndItsFiguresAreThere) {
  ServerProcess server(folder_, "server", {"--metrics-listen", "127.0.0.1:0"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  Process load;
  load.Start({LEAPSTREAM_BINARY_DIR "/bin/leapstream", "load", "--server", server.address(),
              "--source", folder_ / "source", "--sessions", "2", "--rate", "10",
              "--seconds", "600"},
             folder_ / "output");
  httplib::Client http("127.0.0.1", server.port_of("metrics"));
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  double tokens = 0;
  while (tokens < 30 && absl::Now() < deadline) {
    const auto page = http.Get("/metrics");
    tokens = MetricsIn(page ? page->body : "", "leapstream_target_tokens_total{");
  }
  load.Signal(SIGINT);
  EXPECT_EQ(load.Wait(), 0);
  const std::string output = ReadFile(folder_ / "output");
  EXPECT_THAT(output, ContainsRegex("every token  p50 [0-9.]+ ms"));
  EXPECT_THAT(output, HasSubstr("ended by a signal: "));
  EXPECT_THAT(output, HasSubstr("wrong texts: 0\n"));
  EXPECT_THAT(output, Not(HasSubstr("failed sessions")));
}

TEST_F(LoadTest, SessionsThatAreRefusedAreCounted) {
  ServerProcess server(folder_, "server", {"--max-sessions", "2"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  EXPECT_EQ(Load(server, 5), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("failed sessions: 3, UNAVAILABLE SERVER_FULL\n"));
  EXPECT_THAT(output_, HasSubstr("wrong texts: 0\n"));
}

TEST_F(LoadTest, FindsTheMostSessionsThatAServerTakes) {
  ServerProcess server(folder_, "server", {"--max-sessions", "3"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  EXPECT_EQ(Load(server, 1, {"--find", "--p99", "60000"}), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("failed sessions: 1, UNAVAILABLE SERVER_FULL\n"));
  EXPECT_THAT(output_, HasSubstr("live sessions: 3, at 10 words per second each, with p99 within "
                                 "60000 ms; 4 are more than the server admits"));
}

}  // namespace
}  // namespace leapstream
