// leapstream-server: the program that sees every layer and puts them together.

#include <google/protobuf/stubs/logging.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
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

constexpr absl::Duration kShutdownTime = absl::Seconds(10);

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
  sigwait(&signals, &signal);
  spdlog::info("{}: shutting down, open sessions have {} s", strsignal(signal),
               absl::ToInt64Seconds(kShutdownTime));
  server->Shutdown(absl::Now() + kShutdownTime);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  // Blocked before any thread starts, so that all inherit it and only sigwait() gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
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
