// Sessions when the date is set under a server, and when the server does not run for longer than
// they may be silent.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/end_to_end/processes.h"
#include "tests/server/raw_stream.h"

namespace leapstream {
namespace {

class ClockTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "ASan wants to be the first that is preloaded";
#endif
  }
  void Serve(std::vector<std::string> flags) {
    server_ = std::make_unique<ServerProcess>(folder_, "server", std::move(flags));
    setenv("LD_PRELOAD", LEAPSTREAM_BINARY_DIR "/tests/libshifted_clock.so", 1);
    setenv("SHIFTED_CLOCK", (folder_ / "shift").c_str(), 1);
    SetDate(0);
    server_->StartAndWait();
    unsetenv("LD_PRELOAD");
  }
  void Connect() {
    auto client = client::Client::Connect({server_->address(), absl::Seconds(10)});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  std::unique_ptr<client::Stream> Open() {
    client::StreamOptions options;
    options.policy.rule = client::WaitK{3};
    options.resume_timeout = absl::ZeroDuration();  // The test looks at the server's own behaviour.
    return client_->StartStream(options);
  }
  void SetDate(int64_t shift) {
    const std::string path = folder_ / "shift";
    std::ofstream(path, std::ios::app);  // The server maps the file, so it never gets shorter.
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.write(reinterpret_cast<const char*>(&shift), sizeof(shift));
  }
  // Speaks one segment, and waits until it is translated. False: the stream has ended.
  static bool Speak(client::Stream& stream) {
    if (!stream.PushText("It was a dark night.").ok() || !stream.EndSegment().ok()) return false;
    while (const auto event = stream.Next()) {
      if (std::holds_alternative<client::SegmentCompleted>(*event)) return true;
    }
    return false;
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<client::Client> client_;
};

TEST_F(ClockTest, TheDateEndsNoSession) {
  ASSERT_NO_FATAL_FAILURE(
      Serve({"--idle-timeout", "20s", "--max-session-duration", "5m", "--heartbeat-interval",
             "100ms", "--stuck-reader-timeout", "1m", "--config-timeout", "1m"}));
  const auto stub = v1::SimultaneousTranslationService::NewStub(
      grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->StreamTranslate(&context);
  stream->Write(Config(3));
  Response response;
  for (const int64_t shift : {0, 600, -600, 86400, 0}) {
    SetDate(shift);
    // Each heartbeat is sent by a timer, which looks at all limits.
    for (int heartbeats = 0; heartbeats < 3; heartbeats += response.has_heartbeat() ? 1 : 0) {
      ASSERT_TRUE(stream->Read(&response)) << shift << ": " << stream->Finish().error_message();
      EXPECT_FALSE(response.has_going_away()) << shift;
    }
    stream->Write(Text("It was a dark night."));
    stream->Write(EndSegment());
    while (!response.has_segment_completed()) {
      ASSERT_TRUE(stream->Read(&response)) << shift << ": " << stream->Finish().error_message();
      EXPECT_FALSE(response.has_going_away()) << shift;
    }
  }
  stream->WritesDone();
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
  // Durations in the log are as long as they were.
  const std::string log = server_->log();
  std::smatch seconds;
  ASSERT_TRUE(std::regex_search(log, seconds, std::regex("seconds=([-0-9.]+)"))) << log;
  EXPECT_GE(std::stod(seconds[1]), 0);
  EXPECT_LT(std::stod(seconds[1]), 300);
}

TEST_F(ClockTest, ADateInThePastKeepsNobodyFromEnding) {
  ASSERT_NO_FATAL_FAILURE(Serve({"--idle-timeout", "1s", "--drain-timeout", "1s"}));
  ASSERT_NO_FATAL_FAILURE(Connect());
  const auto stream = Open();
  const auto busy = Open();
  ASSERT_TRUE(Speak(*stream));
  ASSERT_TRUE(Speak(*busy));
  SetDate(-86400);
  const absl::Status status = stream->Wait();
  EXPECT_EQ(client::ErrorReason(status), "IDLE_TIMEOUT") << status;
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
}

TEST_F(ClockTest, WhoSpokeWhileTheServerWasStoppedIsNotIdle) {
  constexpr absl::Duration kStop = absl::Seconds(4);
  ASSERT_NO_FATAL_FAILURE(Serve({"--idle-timeout", "2s", "--stuck-reader-timeout", "2s",
                                 "--max-session-duration", "1h"}));
  ASSERT_NO_FATAL_FAILURE(Connect());
  std::vector<std::unique_ptr<client::Stream>> streams;
  for (int i = 0; i < 8; ++i) {
    streams.push_back(Open());
    ASSERT_TRUE(Speak(*streams.back()));
  }
  const auto silent = Open();
  ASSERT_TRUE(Speak(*silent));
  std::atomic<bool> over{false};
  std::thread keep_alive([&] {
    while (!over) {
      for (const auto& stream : streams) stream->KeepAlive().IgnoreError();
      absl::SleepFor(absl::Milliseconds(200));
    }
  });
  for (int round = 0; round < 2; ++round) {
    server_->Signal(SIGSTOP);
    absl::SleepFor(kStop);
    server_->Signal(SIGCONT);
    for (const auto& stream : streams) {
      EXPECT_TRUE(Speak(*stream)) << stream->Wait();
    }
  }
  EXPECT_EQ(client::ErrorReason(silent->Wait()), "IDLE_TIMEOUT") << silent->Wait();
  for (const auto& stream : streams) EXPECT_TRUE(Speak(*stream)) << stream->Wait();
  over = true;
  keep_alive.join();
  for (const auto& stream : streams) {
    ASSERT_TRUE(stream->CloseSource().ok());
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
  }
}

}  // namespace
}  // namespace leapstream
