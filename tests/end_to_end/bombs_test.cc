// Requests that cost more than they weigh, against a real server that wants a token, by clients that
// have none: they are refused, and the server's memory stays what it was.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/processes.h"
#include "tests/server/raw_stream.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr char kService[] = "/leapstream.v1.SimultaneousTranslationService/";
constexpr int64_t kMoreKb = 10 << 10;  // Memory that the server may take at any time.
constexpr size_t kInflated = 200 << 20;

// The most resident memory so far, in KiB.
int64_t PeakMemory(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::atoll(line.c_str() + 6);
  }
  return -1;
}

std::shared_ptr<grpc::Channel> Connect(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

grpc::Status Call(int port, const std::string& method, const std::string& message,
                  grpc_compression_algorithm algorithm = GRPC_COMPRESS_NONE,
                  absl::Duration limit = absl::Seconds(60)) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + limit));
  context.set_compression_algorithm(algorithm);
  const auto channel = Connect(port);
  const auto stream = OpenRaw(channel.get(), &context, method.c_str());
  stream->Write(Bytes(message));
  stream->WritesDone();
  return stream->Finish();
}

class BombsTest : public testing::Test {
 protected:
  void Start(std::vector<std::string> flags) {
    std::ofstream(folder_ / "tokens") << "";
    flags.insert(flags.end(), {"--auth-tokens-file", folder_ / "tokens", "--auth-without-tls",
                               "--max-sessions", "50", "--admin-listen", "127.0.0.1:0"});
    server_ = std::make_unique<ServerProcess>(folder_, "server", flags);
    ASSERT_NO_FATAL_FAILURE(server_->StartAndWait());
    before_ = PeakMemory(server_->pid());
  }
  void ExpectNoMoreMemory(const std::string& after) {
    EXPECT_TRUE(server_->running()) << after << server_->log();
    if (kMeasures) {
      EXPECT_LE(PeakMemory(server_->pid()) - before_, kMoreKb) << after;
    }
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  int64_t before_ = 0;
};

TEST_F(BombsTest, NothingIsInflated) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  const std::string bomb(kInflated, '\0');
  const int admin = server_->port_of("admin");
  ASSERT_GT(admin, 0);
  const struct {
    int port;
    std::string method;
  } kCalls[] = {
      {server_->port(), absl::StrCat(kService, "Translate")},
      {server_->port(), absl::StrCat(kService, "ListModels")},
      {server_->port(), absl::StrCat(kService, "StreamTranslate")},
      {server_->port(), "/grpc.health.v1.Health/Check"},
      {server_->port(), "/grpc.health.v1.Health/Watch"},
      {server_->port(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"},
      {server_->port(), "/no.such.Service/Call"},
      {admin, "/leapstream.admin.v1.AdminService/ListSessions"},
  };
  for (const auto& call : kCalls) {
    const grpc::Status status = Call(call.port, call.method, bomb, GRPC_COMPRESS_GZIP);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << call.method;
    ExpectNoMoreMemory(call.method);
  }
  const grpc::Status status =
      Call(server_->port(), kCalls[0].method, bomb, GRPC_COMPRESS_DEFLATE);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  ExpectNoMoreMemory("deflate");
}

// gRPC looks at a message's size only when it has all of the message.
TEST_F(BombsTest, NothingIsReadForACallWithoutAToken) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  const std::string large(kInflated, '\0');
  for (const char* method : {"Translate", "ListModels", "StreamTranslate"}) {
    const grpc::Status status =
        Call(server_->port(), absl::StrCat(kService, method), large);
    EXPECT_EQ(Reason(status), "TOKEN_MISSING") << method << ": " << status.error_message();
    ExpectNoMoreMemory(method);
  }
}

TEST_F(BombsTest, LinesOfATextAreNotAllHeldAtOnce) {
  ServerProcess server(folder_, "open", {"--max-sessions", "50"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  v1::TranslateRequest request;
  request.set_text(std::string(budget::kTranslateLines - 1, '\n'));
  const std::string method = absl::StrCat(kService, "Translate");
  // The lines are many steps of the model; nobody waits for their end.
  const auto call = [&] {
    const grpc::Status status = Call(server.port(), method, request.SerializeAsString(),
                                     GRPC_COMPRESS_NONE, absl::Seconds(5));
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
        << status.error_message();
  };
  call();
  const int64_t before = PeakMemory(server.pid());
  std::vector<std::thread> callers;
  for (int i = 0; i < 30; ++i) callers.emplace_back(call);
  for (std::thread& caller : callers) caller.join();
  // The states of the lines have their memory from the start.
  if (kMeasures) {
    EXPECT_LE(PeakMemory(server.pid()) - before, 15 << 10) << "half a megabyte of each";
  }
  EXPECT_TRUE(server.running());
}

}  // namespace
}  // namespace leapstream
