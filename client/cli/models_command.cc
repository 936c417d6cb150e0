#include "client/cli/models_command.h"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/output.h"
#include "client/json/events_json.h"

namespace leapstream::client {
namespace {

// One code, or the number of codes.
std::string Languages(const std::vector<std::string>& codes) {
  if (codes.empty()) return "-";
  return codes.size() == 1 ? codes[0] : absl::StrCat(codes.size(), " languages");
}

void PrintWrapped(const char* label, const std::string& text) {
  constexpr size_t kWidth = 96;
  std::string line;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (!line.empty() && line.size() + 1 + word.size() > kWidth) {
      absl::PrintF("  %-8s %s\n", label, line);
      line.clear();
      label = "";
    }
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  absl::PrintF("  %-8s %s\n", label, line.empty() ? "not stated" : line);
}

// Prints what does not fit into the table.
void PrintDetails(const Model& model) {
  absl::PrintF("\n%s\n", model.name);
  PrintWrapped("from", absl::StrJoin(model.source_language_codes, " "));
  PrintWrapped("to", absl::StrJoin(model.target_language_codes, " "));
  if (!model.policies.empty()) PrintWrapped("policies", absl::StrJoin(model.policies, " "));
  if (!model.state_type.empty()) PrintWrapped("states", model.state_type);
  PrintWrapped("licence", model.license);
  PrintWrapped("origin", model.origin);
}

void PrintTable(const std::vector<Model>& models) {
  absl::PrintF("%-24s %-13s %-13s %-17s %-10s %s\n", "NAME", "FROM", "TO", "K", "TYPE",
               "BYTES/SESSION+TOKEN");
  for (const Model& model : models) {
    const std::string k =
        model.generates        ? "-"
        : model.learned_policy
            ? "learned"
            : absl::StrCat(model.default_k > 0 ? absl::StrCat(model.default_k) : "offline", " (",
                           model.min_k, "-", model.max_k, ")");
    const std::string from =
        absl::StrCat(Languages(model.source_language_codes), model.speech ? " (speech)" : "");
    absl::PrintF("%-24s %-13s %-13s %-17s %-10s %d+%d\n", model.name, from,
                 Languages(model.target_language_codes), k, model.compute_type,
                 model.state_bytes_per_session, model.state_bytes_per_token);
  }
}

}  // namespace

void ModelsCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand("models", "List the models of the server.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  command_->add_flag("--json", json_, "as JSON");
  command_->add_flag("--verbose", verbose_,
                     "also all languages, the policies, the type of states, the licence and the origin");
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
    if (verbose_) {
      for (const Model& model : models) PrintDetails(model);
    }
  }
  return FlushOutput();
}

}  // namespace leapstream::client
