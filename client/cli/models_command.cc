#include "client/cli/models_command.h"

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/output.h"
#include "client/json/events_json.h"

namespace leapstream::client {
namespace {

void PrintTable(const std::vector<Model>& models) {
  absl::PrintF("%-24s %-12s %-12s %-17s %-10s %s\n", "NAME", "FROM", "TO", "K", "TYPE",
               "BYTES/SESSION+TOKEN");
  for (const Model& model : models) {
    const std::string k =
        model.learned_policy
            ? "learned"
            : absl::StrCat(model.default_k > 0 ? absl::StrCat(model.default_k) : "offline", " (",
                           model.min_k, "-", model.max_k, ")");
    absl::PrintF("%-24s %-12s %-12s %-17s %-10s %d+%d\n", model.name,
                 absl::StrCat(absl::StrJoin(model.source_language_codes, ","),
                              model.speech ? " (speech)" : ""),
                 absl::StrJoin(model.target_language_codes, ","), k, model.compute_type,
                 model.state_bytes_per_session, model.state_bytes_per_token);
  }
}

}  // namespace

void ModelsCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand("models", "List the models of the server.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  command_->add_flag("--json", json_, "as JSON");
}

std::optional<absl::Status> ModelsCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return PrintModels();
}

absl::Status ModelsCommand::PrintModels() {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<Model> models, client->ListModels());
  if (json_) {
    absl::PrintF("%s\n", ToJson(models));
  } else {
    PrintTable(models);
  }
  return FlushOutput();
}

}  // namespace leapstream::client
