#ifndef LEAPSTREAM_TESTS_END_TO_END_PROCESSES_H_
#define LEAPSTREAM_TESTS_END_TO_END_PROCESSES_H_

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace leapstream {

// $CHAOS_SEED, or another seed each time. It is printed, so that a run can be repeated. Its name
// does not begin with LEAPSTREAM_, since a server takes such variables for its own.
inline uint64_t RandomSeed() {
  const char* const given = std::getenv("CHAOS_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("CHAOS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder that is removed with this object.
class TestFolder {
 public:
  TestFolder() : path_(testing::TempDir() + "leapstream.XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~TestFolder() { std::system(absl::StrCat("rm -rf '", path_, "'").c_str()); }
  std::string operator/(const std::string& name) const { return absl::StrCat(path_, "/", name); }

 private:
  std::string path_;
};

// A program whose output goes to a file. It dies with this object, and with this process.
class Process {
 public:
  Process() = default;
  ~Process() { Kill(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Start(std::vector<std::string> arguments, const std::string& output,
             const std::string& input = "/dev/null") {
    Kill();
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int in = open(input.c_str(), O_RDONLY);
    const int out = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  void Signal(int signal) {
    if (pid_ > 0) kill(pid_, signal);
  }
  // Returns the exit status; negative: the signal that ended it.
  int Wait() {
    if (pid_ <= 0) return 0;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool running() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = 0;
    return pid_ > 0;
  }
  void Kill() {
    Signal(SIGKILL);
    Wait();
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

inline constexpr char kEmbeddedModel[] = LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de";

// A leapstream-server on loopback, with the embedded model if `flags` name none. It keeps its port
// when it is started again.
class ServerProcess : public Process {
 public:
  // `name` is that of its files in `folder`, which must outlive it.
  ServerProcess(const TestFolder& folder, const std::string& name,
                std::vector<std::string> flags = {})
      : port_file_(folder / absl::StrCat(name, ".port")),
        log_(folder / absl::StrCat(name, ".log")),
        flags_(std::move(flags)) {}

  // The wrapper is a command that starts it, such as {"prlimit", "--nofile=64"}.
  void set_wrapper(std::vector<std::string> wrapper) { wrapper_ = std::move(wrapper); }
  void StartAndWait() {
    unlink(port_file_.c_str());
    std::vector<std::string> arguments = wrapper_;
    arguments.insert(arguments.end(), {LEAPSTREAM_BINARY_DIR "/bin/leapstream-server", "--listen",
                                       absl::StrCat("127.0.0.1:", port_), "--port-file",
                                       port_file_});
    arguments.insert(arguments.end(), flags_.begin(), flags_.end());
    const auto named = [](const std::string& flag) { return flag == "--model" || flag == "--config"; };
    if (std::none_of(flags_.begin(), flags_.end(), named)) {
      arguments.insert(arguments.end(), {"--model", kEmbeddedModel});
    }
    Start(arguments, log_);
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    while (access(port_file_.c_str(), F_OK) != 0 && running() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    ASSERT_EQ(access(port_file_.c_str(), F_OK), 0) << log();
    port_ = std::stoi(ReadFile(port_file_));
  }
  int port() const { return port_; }
  // The last port that it printed after `what`, which is "metrics" or "admin"; 0: none.
  int port_of(const std::string& what) const {
    const std::string printed = log(), before = absl::StrCat(what, " on port ");
    const size_t at = printed.rfind(before);
    return at == std::string::npos ? 0 : std::atoi(printed.c_str() + at + before.size());
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  std::string log() const { return ReadFile(log_); }

 private:
  const std::string port_file_, log_;
  const std::vector<std::string> flags_;
  std::vector<std::string> wrapper_;
  int port_ = 0;
};

// Writes 32 bytes with which servers sign resume tokens; returns the file's path.
inline std::string WriteResumeKey(const TestFolder& folder) {
  const std::string path = folder / "resume_key";
  std::ofstream(path) << "0123456789abcdef0123456789abcdef\n";
  return path;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_PROCESSES_H_
