#ifndef LEAPSTREAM_CLIENT_CLI_EVALUATION_COMMANDS_H_
#define LEAPSTREAM_CLIENT_CLI_EVALUATION_COMMANDS_H_

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/cli/evaluate_command.h"
#include "client/cli/policy_flags.h"
#include "client/cli/simuleval_bridge.h"

namespace leapstream::client {

// The commands `leapstream evaluate`, `simuleval-bridge` and `plot`: their flags, and running them.
class EvaluationCommands {
 public:
  // Adds them to `app`, which must not parse once this object is gone. `footer` ends their --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs the command that was chosen; nullopt: none of them was.
  std::optional<absl::Status> Run();

 private:
  void AddEvaluate(CLI::App& app);
  void AddBridge(CLI::App& app);
  void AddPlot(CLI::App& app);
  void AddScoringOptions();
  void AddStreamOptions(CLI::App* command, ClientOptions& connection, std::string& model_folder,
                        StreamOptions& stream);
  // Throws if a server is named beside a model directory, which gets one of its own.
  static void CheckStreamOptions(const CLI::App* command, const std::string& model_folder);

  CLI::App* evaluate_ = nullptr;
  CLI::App* bridge_ = nullptr;
  CLI::App* plot_ = nullptr;
  EvaluateCommandOptions evaluate_options_;
  BridgeOptions bridge_options_;
  PolicyFlags evaluated_policies_, bridge_policy_;
  std::string unit_, tokenizer_;  // Empty: see TargetScoring.
  std::vector<std::string> quality_metrics_, latency_metrics_;
  bool no_scoring_ = false;
  std::string plot_input_;
  std::string plot_output_ = "-";
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVALUATION_COMMANDS_H_
