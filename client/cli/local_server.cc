#include "client/cli/local_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "client/cli/find_program.h"

namespace leapstream::client {
namespace {

constexpr char kProgram[] = "leapstream-server";
constexpr absl::Duration kStartTimeout = absl::Minutes(2);  // A large model takes its time to load.
// The server itself takes up to ten seconds.
constexpr absl::Duration kStopTimeout = absl::Seconds(15);
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);
constexpr size_t kLogEndBytes = 2000;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Start(const std::string& model) {
  const absl::StatusOr<std::string> program = FindProgram(kProgram);
  if (!program.ok()) {
    return absl::NotFoundError(
        absl::StrCat(program.status().message(), "; start one and use --server"));
  }
  const auto no_folder = [](absl::string_view where, absl::string_view why) {
    return absl::InternalError(absl::StrCat("cannot make a folder for a server in ", where, ": ",
                                            why, "; name one that can be written to in TMPDIR"));
  };
  std::error_code error;
  const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
  if (error) {
    const char* const named = std::getenv("TMPDIR");
    return no_folder(named == nullptr ? "/tmp" : named, error.message());
  }
  std::string folder = (temporary / "leapstream.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return no_folder(temporary.string(), std::strerror(errno));
  }
  std::unique_ptr<LocalServer> server(new LocalServer());
  server->folder_ = folder;
  const std::string port_file = folder + "/port";
  const std::string log_file = folder + "/log";
  const char* const argv[] = {program->c_str(), "--model",    model.c_str(),     "--listen",
                              "127.0.0.1:0",   "--port-file", port_file.c_str(), nullptr};
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return absl::InternalError(absl::StrCat("cannot fork: ", std::strerror(errno)));
  if (pid == 0) {  // Only async-signal-safe calls from here on.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);  // Ctrl-C goes to the client, which then ends the server.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);  // The server blocks no signal.
    signal(SIGPIPE, SIG_DFL);                  // The server ignores no signal.
    if (getppid() != parent) _exit(127);
    const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(log >= 0 ? log : null, STDOUT_FILENO);
    dup2(log >= 0 ? log : null, STDERR_FILENO);
    execv(argv[0], const_cast<char* const*>(argv));
    _exit(127);
  }
  server->pid_ = pid;
  const SteadyTime deadline = SteadyNow() + kStartTimeout;
  while (SteadyNow() < deadline) {
    const std::string port = ReadFile(port_file);
    if (!port.empty() && port.back() == '\n') {
      server->address_ = absl::StrCat("127.0.0.1:", absl::StripTrailingAsciiWhitespace(port));
      server->RemoveFolder();
      return server;
    }
    if (!server->running()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the server ended before it served; its log ends with:\n", server->LogEnd()));
    }
    absl::SleepFor(kPollInterval);
  }
  return absl::FailedPreconditionError(absl::StrCat("the server was not ready within ",
                                                    absl::FormatDuration(kStartTimeout),
                                                    "; its log ends with:\n", server->LogEnd()));
}

LocalServer::~LocalServer() {
  if (pid_ > 0) kill(pid_, SIGTERM);
  const SteadyTime deadline = SteadyNow() + kStopTimeout;
  while (running() && SteadyNow() < deadline) absl::SleepFor(kPollInterval);
  if (running()) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  RemoveFolder();
}

void LocalServer::RemoveFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

bool LocalServer::running() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = 0;
  return pid_ > 0;
}

std::string LocalServer::LogEnd() const {
  const std::string log = ReadFile(folder_ + "/log");
  return log.size() > kLogEndBytes ? log.substr(log.size() - kLogEndBytes) : log;
}

}  // namespace leapstream::client
