// leapstream-server: the program that sees every layer and puts them together.

#include <google/protobuf/stubs/logging.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "model/torch/load_model.h"
#include "server/config.h"
#include "server/server.h"

namespace leapstream {
namespace {

constexpr int kDrained = SIGUSR1;  // What Shutdown() is over says to the waiting main thread.

// Serves until one of `signals` comes.
absl::Status Serve(const ServerConfig& config, const sigset_t& signals) {
  std::vector<std::shared_ptr<const Model>> models;
  for (const std::string& directory : config.model_directories) {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, LoadModel(directory));
    spdlog::info("model {} ({} to {}, {}) from {}", model->info.name, model->info.source_language,
                 model->info.target_language, model->info.compute_type, directory);
    models.push_back(std::move(model));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<Server> server,
                              Server::Start(config.server, std::move(models)));
  spdlog::info("{} sessions at once{}", server->max_sessions(),
               config.server.max_sessions > 0 ? "" : ", sized from half of the free memory");
  const std::string host = config.server.listen.substr(0, config.server.listen.rfind(':'));
  std::printf("leapstream-server listens on %s:%d\n", host.c_str(), server->port());
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
  int signal = 0;
  do {
    sigwait(&signals, &signal);
  } while (signal == kDrained);
  spdlog::info("{}: draining, open segments have {}; a second signal ends them", strsignal(signal),
               absl::FormatDuration(config.drain_timeout));
  std::thread drain([&] {
    server->Shutdown(absl::Now() + config.drain_timeout);
    kill(getpid(), kDrained);
  });
  while (true) {
    sigwait(&signals, &signal);
    if (signal == kDrained) break;
    spdlog::warn("{}: ending what is open", strsignal(signal));
    server->Force();
  }
  drain.join();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  // Blocked before any thread starts, so that all inherit it and only sigwait() gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, kDrained);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // It would write a line for every message that is not UTF-8; the client is told instead.
  google::protobuf::SetLogHandler(nullptr);

  const absl::StatusOr<ServerConfig> config = ParseCommandLine(argc, argv);
  if (!config.ok()) {
    std::fprintf(stderr, "leapstream-server: %s\n", std::string(config.status().message()).c_str());
    return 2;
  }
  if (!config->help.empty()) {
    std::fputs(config->help.c_str(), stdout);
    return 0;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("leapstream"));
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  const absl::Status status = Serve(*config, signals);
  if (status.ok()) return 0;
  std::fprintf(stderr, "leapstream-server: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) { return leapstream::Main(argc, argv); }
