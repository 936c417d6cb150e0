#include "client/cli/probe_command.h"

#include <memory>

#include "absl/time/time.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/duration_flag.h"

namespace leapstream::client {

void ProbeCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand("probe", "Wait until the server is serving.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  command_->add_option("--timeout", timeout_, "how long to wait")
      ->check(IsDuration())
      ->capture_default_str();
}

std::optional<absl::Status> ProbeCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Probe();
}

absl::Status ProbeCommand::Probe() {
  connection_.connect_timeout = absl::ZeroDuration();  // Client::Probe() waits by itself.
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  return client->Probe(ParseDuration(timeout_));
}

}  // namespace leapstream::client
