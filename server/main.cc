// leapstream-server: the program that sees every layer and puts them together.

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/status.h"
#include "model/engine/load_model.h"
#include "server/config.h"
#include "server/logging.h"
#include "server/server.h"

namespace leapstream {
namespace {

// What the waiting main thread hears beside signals from outside: Shutdown() is over, and the admin
// service was asked to drain.
constexpr int kDrained = SIGUSR1;
constexpr int kDrain = SIGUSR2;

// Does a thing when asked to, on a thread that is there from the start: at the moment of need there
// may be none to be had. Several questions while it is done make one more.
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
  std::thread thread_;  // Last: it uses the above.
};

LoadOptions HowToLoad(const ModelSource& source, const ServerConfig& config) {
  LoadOptions options;
  options.name = source.name;
  options.compute_type = source.compute_type.empty() ? config.compute_type : source.compute_type;
  options.device = config.device;
  options.intra_op_threads = config.intra_op_threads;
  return options;
}

absl::StatusOr<std::shared_ptr<const Model>> Load(const ModelSource& source,
                                                  const ServerConfig& config) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model,
                              LoadModel(source.directory, HowToLoad(source, config)));
  spdlog::info("model {} ({} to {}, {}) from {}", model->info.name, model->info.source_language,
               model->info.target_language, model->info.compute_type, source.directory);
  return model;
}

// Serves until one of `signals` ends it.
absl::Status Serve(const ServerConfig& config, const sigset_t& signals) {
  std::vector<std::shared_ptr<const Model>> models;
  std::map<std::string, ModelSource> sources;  // By the model's name.
  for (const ModelSource& source : config.models) {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, Load(source, config));
    sources[model->info.name] = source;
    models.push_back(std::move(model));
  }
  ServerHooks hooks;
  hooks.load = [&](const std::string& name) { return Load(sources.at(name), config); };
  hooks.drain = [] { kill(getpid(), kDrain); };
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<Server> server,
                              Server::Start(config.server, std::move(models), hooks));
  spdlog::info("{} sessions at once{}", server->max_sessions(),
               config.server.max_sessions > 0 ? "" : ", sized from half of the free memory");
  const std::string host = config.server.listen.substr(0, config.server.listen.rfind(':'));
  std::printf("leapstream-server listens on %s:%d\n", host.c_str(), server->port());
  if (server->metrics_port() != 0) std::printf("metrics on port %d\n", server->metrics_port());
  if (server->admin_port() != 0) std::printf("admin on port %d\n", server->admin_port());
  std::fflush(stdout);
  if (!config.port_file.empty()) {
    // Renamed when complete, so that a script that waits for the file never reads half of it.
    const std::string unfinished = config.port_file + ".tmp";
    std::ofstream file(unfinished);
    file << server->port() << "\n";
    file.close();
    if (!file || std::rename(unfinished.c_str(), config.port_file.c_str()) != 0) {
      return absl::InvalidArgumentError("cannot write the port to " + config.port_file);
    }
  }
  // Both beside this thread, which has to hear signals meanwhile.
  OnDemand reload([&] {
    spdlog::info("SIGHUP: loading the models anew");
    (void)server->ReloadModels();  // It is logged there.
  });
  OnDemand drain([&] {
    server->AnnounceDrain(absl::Now() + config.drain_delay);
    spdlog::info(
        "draining: new calls are refused, open segments have {}; a second signal ends them",
        absl::FormatDuration(config.drain_timeout));
    server->Shutdown(absl::Now() + config.drain_timeout);
    kill(getpid(), kDrained);
  });
  bool draining = false, ended = false;
  for (int signal = 0; signal != kDrained;) {
    sigwait(&signals, &signal);
    if (signal == SIGHUP) reload.Ask();
    if (signal == SIGHUP || signal == kDrained) continue;
    if (!std::exchange(draining, true)) {
      spdlog::info("{}: this server drains, after a drain_delay of {}",
                   signal == kDrain ? "admin" : strsignal(signal),
                   absl::FormatDuration(config.drain_delay));
      drain.Ask();
    } else if (signal != kDrain && ended) {
      spdlog::warn("{}: ending what is open", strsignal(signal));
      server->Force();
    }
    ended |= signal != kDrain;
  }
  return absl::OkStatus();
}

// gRPC's own lines, such as failed handshakes, in our log and its format.
void LogGrpc(gpr_log_func_args* line) {
  spdlog::log(line->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn : spdlog::level::debug,
              "grpc: {}", line->message);
}

int Main(int argc, char** argv) {
  // Blocked before any thread starts, so that all inherit it and only sigwait() gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, kDrained);
  sigaddset(&signals, kDrain);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // It would write a line for every message that is not UTF-8; the client is told instead.
  google::protobuf::SetLogHandler(nullptr);

  const auto fail = [](const absl::Status& status, int exit_status) {
    std::fprintf(stderr, "leapstream-server: %s\n", std::string(status.message()).c_str());
    return exit_status;
  };
  const absl::StatusOr<ServerConfig> config = ParseCommandLine(argc, argv);
  if (!config.ok()) return fail(config.status(), 2);
  if (config->check_models) {
    for (const ModelSource& model : config->models) {
      const absl::Status status = CheckModel(model.directory, HowToLoad(model, *config));
      if (!status.ok()) return fail(status, 2);
    }
  }
  if (!config->output.empty()) {
    std::fputs(config->output.c_str(), stdout);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
    return fail(absl::InternalError(absl::StrCat("cannot write the output: ", strerror(errno))), 1);
  }
  SetUpLogging(config->log_level, config->log_format);
  gpr_set_log_function(&LogGrpc);
  const absl::Status status = Serve(*config, signals);
  return status.ok() ? 0 : fail(status, 1);
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  try {
    return leapstream::Main(argc, argv);
  } catch (const std::exception& error) {  // Such as std::thread's, where there can be no more.
    std::fprintf(stderr, "leapstream-server: %s\n", error.what());
    return 1;
  }
}
