// leapstream-server, the program that puts all layers together.

#include <fcntl.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/quoted.h"
#include "base/standard_descriptors.h"
#include "base/status.h"
#include "model/engine/model_family.h"
#include "model/engine/load_model.h"
#include "server/config/config.h"
#include "server/descriptors.h"
#include "server/logging.h"
#include "server/served_models.h"
#include "server/server.h"

namespace leapstream {
namespace {

// The signals that the server acts on are blocked, and the main thread waits for them. Other
// signals are ignored that would end the process by default although their senders do not mean
// that.
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP};
constexpr int kIgnored[] = {SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF,
                            SIGIO,   SIGPWR,  SIGTTOU, SIGXFSZ, SIGSTKFLT};

// To be called before any thread starts, so that all threads inherit the mask.
sigset_t Block(absl::Span<const int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}
void IgnoreOthers() {
  for (const int ignored : kIgnored) signal(ignored, SIG_IGN);
  for (int real_time = SIGRTMIN; real_time <= SIGRTMAX; ++real_time) signal(real_time, SIG_IGN);
}

// The events that the main thread waits for: signals, a drain that the admin service asks for, and
// the end of the drain. The last two are no signals, since anybody may send a signal.
class Wakeups {
 public:
  enum What : uint64_t { kDrain = 1, kDrained = 1 << 16 };  // Wait() reads the sum of several.

  explicit Wakeups(const sigset_t& signals)
      : signals_(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)),
        wakeups_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Wakeups() {
    if (signals_ >= 0) close(signals_);
    if (wakeups_ >= 0) close(wakeups_);
  }
  bool ok() const { return signals_ >= 0 && wakeups_ >= 0; }

  void Wake(What what) {
    const uint64_t count = what;
    while (write(wakeups_, &count, sizeof(count)) < 0 && errno == EINTR) continue;
  }
  struct Event {
    int signal = 0;  // 0: none.
    bool drain = false, drained = false;
  };
  Event Wait() {
    pollfd ready[] = {{signals_, POLLIN, 0}, {wakeups_, POLLIN, 0}};
    while (poll(ready, 2, -1) < 0 && errno == EINTR) continue;
    Event event;
    signalfd_siginfo info;
    if (read(signals_, &info, sizeof(info)) == sizeof(info)) {
      event.signal = static_cast<int>(info.ssi_signo);
    }
    uint64_t count = 0;
    if (read(wakeups_, &count, sizeof(count)) == sizeof(count)) {
      event.drain = count % kDrained != 0;
      event.drained = count >= kDrained;
    }
    return event;
  }

 private:
  const int signals_, wakeups_;
};

// True if a signal that ends the server has come already.
bool EndIsPending() {
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

// Writes the port to a file, which gets its name when it is complete: a script that waits for the
// file never reads half of it.
absl::Status WritePort(int port, const std::string& path) {
  const std::string unfinished = path + ".tmp";
  const std::string line = absl::StrCat(port, "\n");
  unlink(unfinished.c_str());
  const int file = open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  const bool written =
      file >= 0 && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int error = errno;
  if (file >= 0) close(file);
  if (written && std::rename(unfinished.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cannot write the port to ", path, ": ",
                                                 std::strerror(written ? errno : error)));
}

// Calls a function when it is asked to, on a thread that exists from the start: at the moment of
// need there may be no thread to be had. If it is asked several times while the function runs, it
// calls the function once more.
class OnDemand {
 public:
  explicit OnDemand(std::function<void()> what)
      : what_(std::move(what)), thread_([this] { Run(); }) {}
  ~OnDemand() {
    {
      MutexLock lock(&mutex_);
      stop_ = true;
      changed_.NotifyOne();
    }
    thread_.join();
  }
  void Ask() {
    MutexLock lock(&mutex_);
    asked_ = true;
    changed_.NotifyOne();
  }

 private:
  void Run() {
    while (true) {
      {
        MutexLock lock(&mutex_);
        while (!stop_ && !asked_) changed_.Wait(&mutex_);
        if (stop_) return;
        asked_ = false;
      }
      what_();
    }
  }

  const std::function<void()> what_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Last: it uses the members above.
};

LoadOptions HowToLoad(const ModelSource& source, const ServerConfig& config) {
  LoadOptions options;
  options.name = source.name;
  options.compute_type = source.compute_type.empty() ? config.compute_type : source.compute_type;
  options.state_type = source.state_type.empty() ? config.state_type : source.state_type;
  options.device = config.device;
  options.intra_op_threads = config.intra_op_threads;
  return options;
}

absl::StatusOr<std::shared_ptr<const Model>> Load(
    const ModelSource& source, const ServerConfig& config,
    const std::vector<std::shared_ptr<const Model>>& loaded = {}) {
  LoadOptions how = HowToLoad(source, config);
  how.loaded = loaded;
  LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model,
                              LoadModel(source.directory, how));
  const ModelInfo& info = model->info;
  const std::string languages =
      info.is_multilingual()
          ? absl::StrCat("from ", info.source_languages.size(), " to ",
                         info.target_languages.size(), " languages")
      : !info.translates ? "goes on with texts"
                         : absl::StrCat(info.source_language, " to ", info.target_language);
  spdlog::info("model {} ({}, {}) from {}", info.name, languages, info.compute_type,
               source.directory);
  for (const std::string& note : model->notes) spdlog::warn("model {}: {}", model->info.name, note);
  return model;
}

// OK if a start would take the models. Loads one after the other for the CPU. For another device,
// which only another machine may have, it checks the directories alone.
absl::Status CheckModels(const ServerConfig& config) {
  std::vector<std::string> names;
  for (const ModelSource& source : config.models) {
    const LoadOptions how = HowToLoad(source, config);
    if (config.device == "cpu") {
      LEAPSTREAM_ASSIGN_OR_RETURN(const std::shared_ptr<const Model> model,
                                  LoadModel(source.directory, how));
      names.push_back(model->info.name);
      continue;
    }
    LEAPSTREAM_RETURN_IF_ERROR(CheckModel(source.directory, how));
    LEAPSTREAM_ASSIGN_OR_RETURN(const ModelConfig model, ReadModelDirectory(source.directory));
    names.push_back(how.name.empty() ? model.name : how.name);
  }
  return CheckModelNames(std::move(names));
}

// Serves until a drain is over, which one of `signals` or the admin service has started.
absl::Status Serve(const ServerConfig& config, const sigset_t& signals) {
  std::vector<std::shared_ptr<const Model>> models;
  std::map<std::string, ModelSource> sources;  // Their keys are the models' names.
  Wakeups wakeups(signals);
  if (!wakeups.ok()) {
    return absl::ResourceExhaustedError("there are no descriptors to wait for signals with");
  }
  for (const ModelSource& source : config.models) {
    if (EndIsPending()) return absl::OkStatus();
    LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, Load(source, config));
    sources[model->info.name] = source;
    models.push_back(std::move(model));
  }
  ServerOptions options = config.server;
  for (const auto& [name, source] : sources) {
    if (!source.glossary.empty()) options.glossary_files[name] = source.glossary;
  }
  ServerHooks hooks;
  hooks.load = [&](const std::string& name, const auto& loaded) {
    return Load(sources.at(name), config, loaded);
  };
  hooks.drain = [&] { wakeups.Wake(Wakeups::kDrain); };
  if (EndIsPending()) return absl::OkStatus();
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<Server> server,
                              Server::Start(options, std::move(models), hooks));
  spdlog::info("{} sessions at once{}", server->max_sessions(),
               config.server.max_sessions > 0
                   ? ""
                   : ", sized from half of the free memory and the limit of descriptors");
  const std::string host = config.server.listen.substr(0, config.server.listen.rfind(':'));
  PrintLine(absl::StrCat("leapstream-server listens on ", host, ":", server->port(), "\n"));
  if (server->http_port() != 0) {
    PrintLine(absl::StrCat("http on port ", server->http_port(), "\n"));
  }
  if (server->metrics_port() != 0) {
    PrintLine(absl::StrCat("metrics on port ", server->metrics_port(), "\n"));
  }
  if (server->admin_port() != 0) {
    PrintLine(absl::StrCat("admin on port ", server->admin_port(), "\n"));
  }
  FlushOutput();  // A script that waits for the port file may want to read these lines then.
  if (!config.port_file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(WritePort(server->port(), config.port_file));
  }
  // Reloads and drains have threads of their own: this thread has to wait for signals meanwhile.
  OnDemand reload([&] {
    spdlog::info("SIGHUP: loading the models anew");
    (void)server->ReloadModels();  // It logs its errors itself.
  });
  OnDemand drain([&] {
    server->AnnounceDrain(SteadyNow() + config.drain_delay);
    spdlog::info(
        "draining: new calls are refused, open segments have {}; a second signal ends them",
        absl::FormatDuration(config.drain_timeout));
    server->Shutdown(SteadyNow() + config.drain_timeout);
    wakeups.Wake(Wakeups::kDrained);
  });
  bool draining = false, ended = false;
  while (true) {
    const Wakeups::Event event = wakeups.Wait();
    if (event.drained) return absl::OkStatus();
    if (event.signal == SIGHUP) reload.Ask();
    const bool ends = event.signal != 0 && event.signal != SIGHUP;
    if (!ends && !event.drain) continue;
    if (!std::exchange(draining, true)) {
      spdlog::info("{}: this server drains, after a drain_delay of {}",
                   ends ? strsignal(event.signal) : "admin",
                   absl::FormatDuration(config.drain_delay));
      drain.Ask();
    } else if (ends && ended) {
      spdlog::warn("{}: ending what is open", strsignal(event.signal));
      server->Force();
    }
    ended |= ends;
  }
}

// Writes gRPC's own lines, such as those about failed handshakes, to our log.
void LogGrpc(gpr_log_func_args* line) {
  spdlog::log(line->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn : spdlog::level::debug,
              "grpc: {}", Quoted(line->message, budget::kLogValueBytes));
}

int Main(int argc, char** argv) {
  if (!OpenStandardDescriptors()) return 1;
  RaiseDescriptorLimit();
  IgnoreOthers();
  Block({SIGHUP});  // An early SIGHUP is meant for the models that are about to be served.
  // protobuf would log a line for every message that is not UTF-8; the client gets an error
  // instead.
  google::protobuf::SetLogHandler(nullptr);

  const auto fail = [](const absl::Status& status, int exit_status) {
    PrintErrorLine(absl::StrCat("leapstream-server: ", status.message(), "\n"));
    FlushOutput();
    return exit_status;
  };
  const absl::StatusOr<ServerConfig> config = ParseCommandLine(argc, argv);
  if (!config.ok()) return fail(config.status(), 2);
  if (config->check_models) {
    const absl::Status status = CheckModels(*config);
    if (!status.ok()) return fail(status, 2);
  }
  if (!config->output.empty()) {
    std::fputs(config->output.c_str(), stdout);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
    return fail(absl::InternalError(absl::StrCat("cannot write the output: ", strerror(errno))), 1);
  }
  const sigset_t signals = Block(kSignals);
  SetUpLogging(config->log_level, config->log_format);
  gpr_set_log_function(&LogGrpc);
  const absl::Status status = Serve(*config, signals);
  if (!status.ok()) return fail(status, 1);
  FlushOutput();
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  try {
    return leapstream::Main(argc, argv);
  } catch (const std::exception& error) {  // One source is std::thread, if there can be no more.
    std::fprintf(stderr, "leapstream-server: %s\n", error.what());
    return 1;
  }
}
