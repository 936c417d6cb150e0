// leapstream-server and leapstream as an operator runs them: real processes, signals, files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr char kServer[] = LEAPSTREAM_BINARY_DIR "/bin/leapstream-server";
constexpr char kClient[] = LEAPSTREAM_BINARY_DIR "/bin/leapstream";
constexpr char kModel[] = LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

struct Outcome {
  int status = -1;
  std::string output;  // Standard output and standard error.
};

Outcome Shell(const std::string& command) {
  Outcome outcome;
  std::FILE* const pipe = popen(absl::StrCat("timeout 60 ", command, " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t size = 0; (size = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    outcome.output.append(buffer, size);
  }
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

class ServerProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/server_program_XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    Shell("rm -rf " + folder_);
  }

  void Start(std::vector<std::string> flags) {
    std::remove((folder_ + "/port").c_str());
    for (const char* flag : {"--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0",
                             "--admin-listen=127.0.0.1:0", "--log-format=json"}) {
      flags.emplace_back(flag);
    }
    flags.push_back("--port-file=" + folder_ + "/port");
    pid_ = fork();
    if (pid_ == 0) {
      std::vector<char*> argv = {const_cast<char*>(kServer)};
      for (std::string& flag : flags) argv.push_back(flag.data());
      argv.push_back(nullptr);
      if (std::freopen((folder_ + "/out").c_str(), "w", stdout) == nullptr ||
          std::freopen((folder_ + "/log").c_str(), "w", stderr) == nullptr) {
        _exit(99);
      }
      execv(kServer, argv.data());
      _exit(99);
    }
    ASSERT_TRUE(WaitFor([&] { return !ReadAll(folder_ + "/port").empty(); })) << Log();
    ASSERT_TRUE(absl::SimpleAtoi(ReadAll(folder_ + "/port"), &port_));
    for (absl::string_view line : absl::StrSplit(ReadAll(folder_ + "/out"), '\n')) {
      if (absl::ConsumePrefix(&line, "admin on port ")) {
        admin_ = absl::StrCat(" --server 127.0.0.1:", line);
      }
    }
    ASSERT_FALSE(admin_.empty());
  }
  template <typename Condition>
  bool WaitFor(Condition condition) {
    for (const absl::Time end = absl::Now() + absl::Seconds(40); absl::Now() < end;) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  }
  std::string Log() { return ReadAll(folder_ + "/log"); }
  Outcome Translate(const std::string& text) {
    return Shell(absl::StrCat("sh -c \"echo '", text, "' | ", kClient,
                              " translate --server 127.0.0.1:", port_, "\""));
  }
  // Waits for the server's end.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string folder_;
  pid_t pid_ = 0;
  int port_ = 0;
  std::string admin_;
};

TEST_F(ServerProgramTest, WrongUsageIsToldAndNothingAborts) {
  const struct {
    std::string flags;
    const char* message;
  } kCases[] = {
      {"--config " + folder_, "Is a directory"},
      {"--config /nowhere", "cannot read /nowhere"},
      {absl::StrCat("--model ", kModel, " --listen localhost"), "must be HOST:PORT"},
      {absl::StrCat("--model ", kModel, " --listen localhost:99999"), "must be HOST:PORT"},
      {absl::StrCat("--model ", kModel, " --listen ''"), "must be HOST:PORT"},
      {absl::StrCat("--model ", kModel, " --idle-timout 3s"), "is --idle-timeout meant?"},
      {absl::StrCat("--model ", kModel, " --auth-tokens-file t"), "needs tls_certificate_file"},
      {absl::StrCat("--model ", kModel, " --device cuda:0"), "needs max_sessions"},
      {absl::StrCat("--model ", kModel, " --device cpu:0 --max-sessions 4 --check-config"),
       "device needs to be cpu, torch-cpu or"},
      {absl::StrCat("--model ", kModel,
                    " --device cuda:0 --compute-type int8 --max-sessions 4 --check-config"),
       "a LibTorch device computes in float32"},
      {"--model /nowhere --check-config", "/nowhere/model.json: No such file"},
  };
  for (const auto& test : kCases) {
    const Outcome outcome = Shell(absl::StrCat(kServer, " ", test.flags));
    EXPECT_EQ(outcome.status, 2) << test.flags;
    EXPECT_THAT(outcome.output, HasSubstr(test.message)) << test.flags;
  }
  for (const std::string& file : {folder_, std::string("/nowhere")}) {
    const Outcome outcome =
        Shell(absl::StrCat(kServer, " --model ", kModel, " --resume-key-file ", file));
    EXPECT_EQ(outcome.status, 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("cannot read " + file));
  }
}

// --check-config refuses the configurations that a start refuses, except for the ports, and for the
// same reason.
TEST_F(ServerProgramTest, WhatIsCheckedIsWhatStarts) {
  const std::string model = absl::StrCat("--model ", kModel);
  const std::string half = folder_ + "/half", damaged = folder_ + "/damaged";
  ASSERT_EQ(Shell(absl::StrCat("cp -r ", kModel, " ", half)).status, 0);
  ASSERT_EQ(Shell(absl::StrCat("truncate -s 100000 ", half, "/weights.safetensors")).status, 0);
  ASSERT_EQ(Shell(absl::StrCat("cp -r ", kModel, " ", damaged)).status, 0);
  std::ofstream(damaged + "/target.dict.txt", std::ios::app) << "more 1\n";
  std::ofstream(folder_ + "/short_key") << "too short\n";
  std::ofstream(folder_ + "/config.yaml")
      << "models:\n  - path: " << kModel << "\n  - {path: " << kModel << ", name: other}\n"
      << "  - {path: " << kModel << ", name: en-de}\n";
  const struct {
    std::string flags;
    const char* message;
  } kCases[] = {
      {absl::StrCat(model, " ", model), "two models are named en-de"},
      {absl::StrCat("--config ", folder_, "/config.yaml"), "two models are named en-de"},
      {absl::StrCat("--model ", half), "weights.safetensors"},
      {absl::StrCat("--model ", damaged), "target.dict.txt"},
      {absl::StrCat(model, " --resume-key-file ", folder_, "/short_key"), "32 bytes"},
      {absl::StrCat(model, " --port-file ", folder_, "/nowhere/port"), "port"},
      {absl::StrCat(model, " --port-file ", folder_), "port"},
      {absl::StrCat(model, " --listen no-such-host.invalid:0"), "is the host this machine?"},
      {absl::StrCat(model, " --metrics-listen no-such-host.invalid:0"),
       "is the host this machine?"},
  };
  for (const auto& test : kCases) {
    const Outcome checked = Shell(absl::StrCat(kServer, " --check-config ", test.flags));
    EXPECT_EQ(checked.status, 2) << test.flags << "\n" << checked.output;
    EXPECT_THAT(checked.output, HasSubstr(test.message)) << test.flags;
    const bool listens = absl::StrContains(test.flags, "--listen");
    const Outcome started =
        Shell(absl::StrCat(kServer, listens ? " " : " --listen 127.0.0.1:0 ", test.flags));
    EXPECT_EQ(started.status, 1) << test.flags << "\n" << started.output;
    EXPECT_THAT(started.output, HasSubstr(test.message)) << test.flags;
  }
  const std::string unused = folder_ + "/port";
  EXPECT_EQ(Shell(absl::StrCat(kServer, " --check-config ", model, " --port-file ", unused)).status,
            0);
  EXPECT_NE(access(unused.c_str(), F_OK), 0) << "a check writes nothing";
}

// A shell closes descriptors by <&- and >&-. Files and sockets must not get their numbers.
TEST_F(ServerProgramTest, StandardDescriptorsAreThere) {
  Start({"--model", kModel});
  const std::string translate =
      absl::StrCat(kClient, " translate --server 127.0.0.1:", port_);
  const Outcome deaf = Shell(absl::StrCat("sh -c '", translate, " <&-'"));
  EXPECT_EQ(deaf.status, 4);
  EXPECT_THAT(deaf.output, HasSubstr("standard input, which is closed"));
  const Outcome quiet = Shell(absl::StrCat("sh -c 'echo hello | ", translate, " 2>&-'"));
  EXPECT_EQ(quiet.status, 0);
  EXPECT_FALSE(quiet.output.empty());
  EXPECT_EQ(Shell(absl::StrCat("sh -c '", translate, " <&- >&- 2>&-'")).status, 4);
  for (const char* program : {"leapstream", "leapstream-server", "leapstream-export"}) {
    const std::string path = absl::StrCat(LEAPSTREAM_BINARY_DIR, "/bin/", program);
    EXPECT_LE(Shell(absl::StrCat("sh -c '", path, " --help <&- >&- 2>&-'")).status, 2) << program;
  }
  kill(pid_, SIGTERM);
  Wait();
}

TEST_F(ServerProgramTest, AServerStartedWithoutDescriptorsServes) {
  std::remove((folder_ + "/port").c_str());
  pid_ = fork();
  if (pid_ == 0) {
    for (const int descriptor : {0, 1, 2}) close(descriptor);
    execl(kServer, kServer, "--model", kModel, "--listen", "127.0.0.1:0", "--log-level", "debug",
          "--port-file", (folder_ + "/port").c_str(), nullptr);
    _exit(99);
  }
  ASSERT_TRUE(WaitFor([&] { return !ReadAll(folder_ + "/port").empty(); }));
  ASSERT_TRUE(absl::SimpleAtoi(ReadAll(folder_ + "/port"), &port_));
  for (const int descriptor : {0, 1, 2}) {
    char target[100] = "";
    const std::string link = absl::StrCat("/proc/", pid_, "/fd/", descriptor);
    ASSERT_GT(readlink(link.c_str(), target, sizeof(target) - 1), 0) << link;
    EXPECT_STREQ(target, "/dev/null");
  }
  for (int i = 0; i < 3; ++i) {
    const Outcome translated = Translate("hello");
    EXPECT_EQ(translated.status, 0) << translated.output;
  }
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ServerProgramTest, TokensAreMadeForTheFile) {
  const Outcome made = Shell(absl::StrCat(kServer, " --new-token alice"));
  EXPECT_EQ(made.status, 0);
  const std::vector<std::string> lines = absl::StrSplit(made.output, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u) << made.output;
  EXPECT_EQ(lines[0].size(), 64u);
  EXPECT_THAT(lines[1], testing::StartsWith("alice "));
  const Outcome hashed =
      Shell(absl::StrCat("sh -c \"echo ", lines[0], " | ", kServer, " --hash-token bob\""));
  EXPECT_EQ(hashed.status, 0);
  EXPECT_THAT(hashed.output, testing::StartsWith("bob "));
  EXPECT_EQ(Shell(absl::StrCat("sh -c \"echo short | ", kServer, " --hash-token bob\"")).status, 2);
}

TEST_F(ServerProgramTest, AnOperatorsDay) {
  Shell(absl::StrCat("cp -r ", kModel, " ", folder_, "/one"));
  Shell(absl::StrCat("cp -r ", kModel, " ", folder_, "/two"));
  Shell(absl::StrCat("ln -s one ", folder_, "/model"));
  Start({"--model=" + folder_ + "/model", "--drain-delay=1h"});
  const Outcome first = Translate("Hello world");
  ASSERT_EQ(first.status, 0) << first.output;

  Outcome stats = Shell(absl::StrCat(kClient, " admin stats --json", admin_));
  ASSERT_EQ(stats.status, 0) << stats.output;
  const auto json = nlohmann::json::parse(stats.output);
  EXPECT_EQ(json["slots_used"], 0);
  EXPECT_EQ(json["models"][0]["name"], "en-de");
  EXPECT_EQ(Shell(absl::StrCat(kClient, " admin sessions", admin_)).status, 0);

  // A broken model is not taken, and the server serves on. Then a good one is taken.
  Shell(absl::StrCat("sh -c \"head -c 1000 ", folder_, "/one/weights.safetensors > ", folder_,
                     "/two/w && mv ", folder_, "/two/w ", folder_,
                     "/two/weights.safetensors && "
                     "ln -sfn two ",
                     folder_, "/model\""));
  const Outcome broken = Shell(absl::StrCat(kClient, " admin reload", admin_));
  EXPECT_EQ(broken.status, 4) << broken.output;
  EXPECT_THAT(broken.output, HasSubstr("serves on as it was"));
  EXPECT_THAT(broken.output, HasSubstr("weights.safetensors"));
  EXPECT_EQ(Translate("Hello world").output, first.output);
  Shell(absl::StrCat("ln -sfn one ", folder_, "/model"));
  const Outcome reloaded = Shell(absl::StrCat(kClient, " admin reload en-de", admin_));
  EXPECT_EQ(reloaded.status, 0) << reloaded.output;
  EXPECT_THAT(reloaded.output, testing::StartsWith("en-de: "));
  EXPECT_EQ(Shell(absl::StrCat(kClient, " admin reload other", admin_)).status, 4);
  kill(pid_, SIGHUP);
  EXPECT_TRUE(WaitFor([&] {
    const std::string log = Log();
    return absl::StrContains(log.substr(log.find("SIGHUP") + 1), "nothing was loaded");
  })) << Log();
  EXPECT_EQ(Translate("Hello world").output, first.output);

  // The server serves on for the drain_delay, however often it is asked to drain; a second signal
  // ends it.
  EXPECT_EQ(Shell(absl::StrCat(kClient, " admin drain", admin_)).status, 0);
  EXPECT_TRUE(WaitFor([&] {
    stats = Shell(absl::StrCat(kClient, " admin stats --json", admin_));
    return stats.status == 0 && nlohmann::json::parse(stats.output)["draining"] == true;
  })) << stats.output;
  EXPECT_EQ(Shell(absl::StrCat(kClient, " admin drain", admin_)).status, 0);
  kill(pid_, SIGTERM);
  EXPECT_EQ(Translate("Hello world").output, first.output);
  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
  int summaries = 0;
  for (const absl::string_view line : absl::StrSplit(Log(), '\n', absl::SkipEmpty())) {
    const auto entry = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    EXPECT_FALSE(entry.is_discarded()) << line;
    if (entry["message"] == "session") ++summaries;
  }
  EXPECT_EQ(summaries, 4) << Log();
  EXPECT_FALSE(absl::StrContains(Log(), "Hello")) << "no text in the log";
}

}  // namespace
}  // namespace leapstream
