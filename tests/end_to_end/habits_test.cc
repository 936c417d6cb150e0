// Things that operators do to a server beside its interface: logs that nobody reads, signals
// without a meaning, files that change while they are read. None of them may end or stop anything.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/admin.h"
#include "client/client.h"
#include "tests/end_to_end/edited_model.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/processes.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr int kPipeBytes = 4096;

class HabitsTest : public testing::Test {
 protected:
  // Starts a server with `flags`, and free ports for metrics and the admin service.
  void Serve(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--metrics-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"});
    server_ = std::make_unique<ServerProcess>(folder_, "server", std::move(flags));
    ASSERT_NO_FATAL_FAILURE(server_->StartAndWait());
    stub_ = v1::SimultaneousTranslationService::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }
  // Starts a server whose output goes to a pipe; the test has the other end.
  void ServeIntoPipe() {
    const std::string pipe = folder_ / "server.log";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    reader_ = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader_, 0);
    ASSERT_NO_FATAL_FAILURE(Serve());
    ASSERT_GE(fcntl(reader_, F_SETPIPE_SZ, kPipeBytes), 0);
    const std::string printed = ReadSome();
    const size_t at = printed.find("metrics on port ");
    ASSERT_NE(at, std::string::npos) << printed;
    metrics_port_ = std::atoi(printed.c_str() + at + std::strlen("metrics on port "));
  }
  void TearDown() override {
    if (reader_ >= 0) close(reader_);
  }
  // Waits for bytes in the pipe and returns them; empty: the writer has gone.
  std::string ReadSome() {
    std::string bytes(kPipeBytes, '\0');
    pollfd ready = {reader_, POLLIN, 0};
    poll(&ready, 1, 20000);
    const ssize_t count = read(reader_, bytes.data(), bytes.size());
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
  }
  double Metric(const std::string& sample) {
    httplib::Client http("127.0.0.1", metrics_port_);
    const auto page = http.Get("/metrics");
    return page ? MetricIn(page->body, sample) : -1;
  }
  grpc::Status Translate() {
    grpc::ClientContext context;
    v1::TranslateRequest request;
    v1::TranslateResponse response;
    request.set_text("Hello.");
    return stub_->Translate(&context, request, &response);
  }

  static std::string Preface() {
    return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
           std::string("\0\0\0\4\0\0\0\0\0", 9);  // SETTINGS.
  }
  // Sends `bytes`, and returns all that comes back until the server ends the connection.
  std::string Exchange(const std::string& bytes) {
    const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(write(connection, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    shutdown(connection, SHUT_WR);
    std::string all;
    char answer[4096];
    for (ssize_t count; (count = read(connection, answer, sizeof(answer))) > 0;) {
      all.append(answer, static_cast<size_t>(count));
    }
    close(connection);
    return all;
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
  int reader_ = -1;
  int metrics_port_ = 0;
};

TEST_F(HabitsTest, ALogThatNobodyReadsStopsNothing) {
  ASSERT_NO_FATAL_FAILURE(ServeIntoPipe());
  const auto dropped = [this] { return Metric("leapstream_log_lines_dropped_total"); };
  EXPECT_EQ(dropped(), 0);
  // Each call logs a line.
  int calls = 0;
  for (; calls < 20000 && (calls % 100 != 0 || dropped() == 0); ++calls) {
    const grpc::Status status = Translate();
    ASSERT_TRUE(status.ok()) << calls << ": " << status.error_message();
  }
  EXPECT_GT(dropped(), 0) << calls;
  OpenStream stream(*stub_, {Config(3), Text("It was a dark night."), EndSegment()});
  stream.stream->WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.completed.size(), 1u);
  // The drop is reported once somebody reads again.
  std::string log;
  while (!absl::StrContains(log, "lines of the log were dropped")) {
    const std::string more = ReadSome();
    ASSERT_FALSE(more.empty()) << log.substr(log.size() - std::min<size_t>(log.size(), 1000));
    log += more;
  }
  // The reader stops again: neither signals nor the end wait for it.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Translate().ok());
  server_->Signal(SIGHUP);
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
}

TEST_F(HabitsTest, ALogWhoseReaderDiesKillsNobody) {
  ASSERT_NO_FATAL_FAILURE(ServeIntoPipe());
  close(std::exchange(reader_, -1));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Translate().ok());
  EXPECT_GT(Metric("leapstream_log_lines_dropped_total"), 0);
  EXPECT_TRUE(server_->running());
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
}

// Errors at start are written if somebody reads them, and end the start in any case.
TEST_F(HabitsTest, AFullPipeDoesNotKeepABadStart) {
  const std::string pipe = folder_ / "full";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  reader_ = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const int writer = open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  const int size = fcntl(writer, F_SETPIPE_SZ, kPipeBytes);
  ASSERT_EQ(write(writer, std::string(size, 'x').data(), size), size);
  close(writer);
  Process server;
  server.Start({LEAPSTREAM_BINARY_DIR "/bin/leapstream-server", "--model", "/nowhere"}, pipe);
  EXPECT_EQ(server.Wait(), 1);
}

TEST_F(HabitsTest, SignalsThatMeanNothingEndNothing) {
  ASSERT_NO_FATAL_FAILURE(Serve());
  OpenStream stream(*stub_, {Config(3), Text("It was a dark night. ")});
  ASSERT_TRUE(stream.ReadUntil(IsTarget));
  for (const int signal : {SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
                           SIGTTOU, SIGXFSZ, SIGWINCH, SIGURG, SIGCHLD, SIGCONT, SIGRTMIN,
                           SIGRTMAX, SIGHUP}) {
    server_->Signal(signal);
    ASSERT_TRUE(Translate().ok()) << strsignal(signal) << "\n" << server_->log();
  }
  stream.stream->Write(Text("Nobody came."));
  stream.stream->WritesDone();
  const grpc::Status status = stream.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
}

TEST_F(HabitsTest, ASignalBeforeItServesIsHeard) {
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) {
    Process server;
    const std::string log = folder_ / absl::StrCat("early", signal);
    server.Start({LEAPSTREAM_BINARY_DIR "/bin/leapstream-server", "--model", kEmbeddedModel,
                  "--listen", "127.0.0.1:0", "--port-file", log + ".port"},
                 log);
    // The signal is sent when the server has blocked its signals, to handle them itself.
    const auto blocks = [&] {
      const std::string status = ReadFile(absl::StrCat("/proc/", server.pid(), "/status"));
      const size_t at = status.find("SigBlk:");
      return at != std::string::npos &&
             (std::strtoull(status.c_str() + at + 7, nullptr, 16) >> (SIGHUP - 1) & 1) != 0;
    };
    while (!blocks() && server.running()) absl::SleepFor(absl::Milliseconds(1));
    server.Signal(signal);
    if (signal == SIGHUP) {
      while (access((log + ".port").c_str(), F_OK) != 0 && server.running()) {
        absl::SleepFor(absl::Milliseconds(5));
      }
      EXPECT_TRUE(server.running()) << ReadFile(log);
      server.Signal(SIGTERM);
      EXPECT_EQ(server.Wait(), 0) << ReadFile(log);
    } else {
      const int status = server.Wait();  // Before it serves, the signal itself may end it.
      EXPECT_TRUE(status == 0 || status == -signal) << status << "\n" << ReadFile(log);
    }
  }
}

// HTTP/2 that no library writes: a header value with a line feed.
TEST_F(HabitsTest, NobodyWritesLinesOfTheLog) {
  ASSERT_NO_FATAL_FAILURE(Serve({"--log-level", "trace"}));
  const std::string forged =
      "x\n[2026-01-01 00:00:00.000] [leapstream] [info] session session=0 principal=alice";
  const auto field = [](const std::string& name, const std::string& value) {
    std::string bytes(1, '\0');  // A literal that is not indexed.
    bytes += static_cast<char>(name.size());
    bytes += name;
    bytes += static_cast<char>(value.size());
    return bytes + value;
  };
  ASSERT_LT(forged.size(), 127u);
  for (const std::string& name : {std::string("te"), std::string("user-agent"), std::string("x-a"),
                                  std::string("grpc-timeout"), std::string("content-type")}) {
    std::string headers =
        field(":method", "POST") + field(":scheme", "http") + field(":path", "/a/b") +
        field(":authority", "a") + field(name, forged) + field("x\n[2026] forged", "y");
    std::string bytes = Preface();
    bytes += std::string("\0", 1) + static_cast<char>(headers.size() >> 8) +
             static_cast<char>(headers.size() & 0xff);
    bytes += std::string("\1\5\0\0\0\1", 6) + headers;  // HEADERS, complete, of stream 1.
    Exchange(bytes);
  }
  ASSERT_TRUE(Translate().ok());
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
  for (const absl::string_view line : absl::StrSplit(server_->log(), '\n')) {
    EXPECT_FALSE(absl::StartsWith(line, "[2026-01-01")) << line;
    EXPECT_LT(line.size(), 1000u) << line;
  }
}

// The rule is in docs/protocol.md.
TEST_F(HabitsTest, PingsMayNotComeTooOften) {
  ASSERT_NO_FATAL_FAILURE(Serve());
  std::string bytes = Preface();
  for (int i = 0; i < 5; ++i) bytes += std::string("\0\0\x8\6\0\0\0\0\0", 9) + "12345678";
  EXPECT_THAT(Exchange(bytes), HasSubstr("too_many_pings"));
}

// With sessions on each version, a reload of an unchanged model takes no memory, nor does a reload
// of a version that was there before.
TEST_F(HabitsTest, ReloadsOfTheSameModelTakeNoMemory) {
  WriteEditedModel(folder_ / "edited");
  const auto serve = [this](const std::string& directory) {
    std::filesystem::create_directory_symlink(directory, folder_ / "next");
    std::filesystem::rename(folder_ / "next", folder_ / "model");
  };
  serve(kEmbeddedModel);
  ASSERT_NO_FATAL_FAILURE(Serve({"--model", folder_ / "model"}));
  client::AdminClient admin(absl::StrCat("127.0.0.1:", server_->port_of("admin")));
  std::vector<std::unique_ptr<OpenStream>> streams;
  const auto open = [&] {
    streams.push_back(std::make_unique<OpenStream>(
        *stub_, std::vector<Request>{Config(3), Text("It was a dark night. ")}));
    ASSERT_TRUE(streams.back()->ReadUntil(IsTarget));
  };
  ASSERT_NO_FATAL_FAILURE(open());
  serve(folder_ / "edited");
  ASSERT_TRUE(admin.Reload("").ok());
  ASSERT_NO_FATAL_FAILURE(open());
  const int64_t before = ResidentMemory(server_->pid());
  for (int i = 0; i < 10; ++i) {
    for (const std::string& directory : {std::string(kEmbeddedModel), folder_ / "edited"}) {
      serve(directory);
      for (int again = 0; again < 2; ++again) {
        const auto reloaded = admin.Reload("");
        ASSERT_TRUE(reloaded.ok()) << reloaded.status();
        ASSERT_NO_FATAL_FAILURE(open());
        EXPECT_EQ(streams.back()->started.model_checksum(), (*reloaded)[0].new_checksum);
      }
    }
  }
  // The sessions take some of that; each version that is loaded would take more.
  if (kMeasures) EXPECT_LT(ResidentMemory(server_->pid()) - before, 150 << 10);  // KiB.
  for (const auto& stream : streams) {
    stream->stream->WritesDone();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
}

// `cp` writes into the file that is there. A process that maps the file is killed when it is cut
// short.
TEST_F(HabitsTest, AModelThatIsOverwrittenWhileItIsReadEndsNothing) {
  std::filesystem::copy(kEmbeddedModel, folder_ / "model");
  ASSERT_NO_FATAL_FAILURE(Serve({"--model", folder_ / "model"}));
  OpenStream stream(*stub_, {Config(3), Text("It was a dark night. ")});
  ASSERT_TRUE(stream.ReadUntil(IsTarget));
  std::atomic<bool> over{false};
  std::thread copier([&] {
    std::vector<std::pair<std::string, std::string>> files;
    for (const auto& file : std::filesystem::directory_iterator(kEmbeddedModel)) {
      files.emplace_back(folder_ / absl::StrCat("model/", file.path().filename().string()),
                         ReadFile(file.path().string()));
    }
    while (!over) {
      for (const auto& [path, bytes] : files) {
        std::ofstream file(path, std::ios::binary | std::ios::trunc);
        file << bytes.substr(0, bytes.size() / 2) << std::flush << bytes.substr(bytes.size() / 2);
      }
    }
  });
  client::AdminClient admin(absl::StrCat("127.0.0.1:", server_->port_of("admin")));
  int failed = 0;
  for (int i = 0; i < 100 && server_->running(); ++i) {
    if (!admin.Reload("").ok()) ++failed;
  }
  over = true;
  copier.join();
  ASSERT_TRUE(server_->running()) << server_->log();
  EXPECT_GT(failed, 0) << "nothing was ever changed while it was read";
  const auto reloaded = admin.Reload("");
  EXPECT_TRUE(reloaded.ok()) << reloaded.status();
  stream.stream->Write(Text("Nobody came."));
  stream.stream->WritesDone();
  const grpc::Status status = stream.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace leapstream
