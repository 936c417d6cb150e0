// A client opens streams and resets them at once, as many as the connection takes. The tests
// measure their cost for the server, and check that the server gives the memory back. The client
// writes raw HTTP/2, since no client library would do this.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "client/client.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/plain_connections.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"

namespace leapstream {
namespace {

std::string BigEndian(uint32_t number, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(number >> (8 * i)));
  return text;
}

std::string Frame(char type, char flags, uint32_t stream, const std::string& payload) {
  return BigEndian(static_cast<uint32_t>(payload.size()), 3) + type + flags +
         BigEndian(stream, 4) + payload;
}

// A header that is neither indexed nor compressed: RFC 7541, 6.2.2.
std::string Header(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name +
         static_cast<char>(value.size()) + value;
}

std::string Preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(/*SETTINGS*/ 4, 0, 0, "");
}

// Frames of `count` calls of a method, each reset as soon as it is made.
std::string Resets(const std::string& method, uint32_t first, int count) {
  const std::string headers = "\x83\x86" /* POST, http */ + Header(":path", method) +
                              Header(":authority", "x") +
                              Header("content-type", "application/grpc") + Header("te", "trailers");
  std::string frames;
  for (int i = 0; i < count; ++i) {
    const uint32_t stream = first + 2 * static_cast<uint32_t>(i);
    frames += Frame(/*HEADERS*/ 1, /*END_HEADERS*/ 4, stream, headers);
    frames += Frame(/*RST_STREAM*/ 3, 0, stream, BigEndian(/*CANCEL*/ 8, 4));
  }
  return frames;
}

TEST(ResetsTest, TheirMemoryIsGivenBack) {
  if (!kMeasures) GTEST_SKIP() << "a sanitizer takes memory of its own";
  TestFolder folder;
  ServerProcess server(folder, "server", {"--max-sessions", "64"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const auto client = client::Client::Connect({server.address(), absl::Seconds(60)});
  ASSERT_TRUE(client.ok()) << client.status();
  const std::vector<Sentence> all = ReadSentences();
  const auto speak = [&] {
    Speaker speaker(**client, {all[0], all[1]}, /*words_per_second=*/50);
    speaker.Join();
    speaker.ExpectFaultlessTranscript();
  };
  speak();
  const int64_t before = ResidentMemory(server.pid());
  int64_t most = before;
  for (const char* method :
       {"/leapstream.v1.SimultaneousTranslationService/StreamTranslate", "/no/method"}) {
    PlainConnections connection(server.port());
    ASSERT_NO_FATAL_FAILURE(connection.Open(1, Preface() + Resets(method, 1, 20000)));
    most = std::max(most, ResidentMemory(server.pid()));
  }
  speak();
  int64_t after = ResidentMemory(server.pid());
  constexpr int64_t kKept = 96 << 10;  // In KiB: freed memory that is kept, and 64 states.
  for (const absl::Time end = absl::Now() + absl::Minutes(2);
       after - before > kKept && absl::Now() < end;) {
    most = std::max(most, after);
    absl::SleepFor(absl::Milliseconds(100));
    after = ResidentMemory(server.pid());
  }
  absl::PrintF("resident: %d MB before, %d MB at most, %d MB after\n", before >> 10, most >> 10,
               after >> 10);
  EXPECT_LE(after - before, kKept);
  speak();
}

// The timers of a call are forgotten with it when it is over.
TEST(ResetsTest, CallsThatAreOverLeaveNothing) {
  if (!kMeasures) GTEST_SKIP() << "a sanitizer takes memory of its own";
  TestFolder folder;
  // There are so few sessions that all states have their memory from the start.
  ServerProcess server(folder, "server", {"--max-sessions", "32", "--log-level", "warn"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const auto channel = grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials());
  const auto stub = v1::SimultaneousTranslationService::NewStub(channel);
  int refused = 0;
  const auto call = [&](int times) {
    std::vector<std::thread> callers;
    std::atomic<int> failed{0};
    for (int caller = 0; caller < 8; ++caller) {
      callers.emplace_back([&] {
        for (int i = 0; i < times / 8; ++i) {
          grpc::ClientContext one, other;
          v1::TranslateResponse translation;
          if (!stub->Translate(&one, {}, &translation).ok()) ++failed;
          v1::ListModelsResponse models;
          if (!stub->ListModels(&other, {}, &models).ok()) ++failed;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    refused += failed;
  };
  call(2000);
  const int64_t before = ResidentMemory(server.pid());
  call(20000);
  const int64_t after = ResidentMemory(server.pid());
  absl::PrintF("resident: %d KB before, %d KB after 20000 calls of each\n", before, after);
  EXPECT_LE(after - before, 10 << 10) << "512 bytes a call";
  EXPECT_EQ(refused, 0);
}

// A connection has room for all sessions behind a proxy that has one connection.
TEST(ResetsTest, AConnectionHasSoManyStreamsAndNoMore) {
  TestFolder folder;
  ServerProcess server(folder, "server", {"--max-sessions", "64"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  PlainConnections connection(server.port());
  ASSERT_NO_FATAL_FAILURE(connection.Open(1, Preface()));
  const std::string settings = connection.ReceiveFromLast(9);  // The server's settings come first.
  const std::string payload = connection.ReceiveFromLast(static_cast<unsigned char>(settings[2]));
  int64_t streams = -1;
  for (size_t i = 0; i + 6 <= payload.size(); i += 6) {
    if (payload.substr(i, 2) != BigEndian(/*SETTINGS_MAX_CONCURRENT_STREAMS*/ 3, 2)) continue;
    streams = 0;
    for (size_t j = 2; j < 6; ++j) {
      streams = streams << 8 | static_cast<unsigned char>(payload[i + j]);
    }
  }
  EXPECT_EQ(streams, 64 + budget::kStreamsBesideSessions);
}

}  // namespace
}  // namespace leapstream
