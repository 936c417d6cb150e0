#include "client/cli/generate_command.h"

#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/json/dump.h"

namespace leapstream::client {

void GenerateCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "generate",
      "Go on with texts, with a language model. Each line of standard input is a prompt.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  AddModelFlag(command_, options_.model, "the model; default: the only language model");
  command_->add_option("--prompt", prompt_, "the prompt, in place of standard input");
  command_->add_option("--max-len", options_.max_tokens,
                       "the most tokens to write, the prompt's not counted; default: 256")
      ->check(CLI::PositiveNumber);
  command_->add_option("--min-len", options_.min_tokens, "write no end before so many tokens")
      ->check(CLI::NonNegativeNumber);
  command_->add_flag("--sampling", sampling_,
                     "draw each token by its probability; default: take the best");
  command_->add_option("--temperature", temperature_,
                       "divide the logits by this; needs --sampling; default: 1")
      ->check(CLI::PositiveNumber);
  command_->add_option("--sampling-topk", options_.top_k, "draw from the best so many tokens")
      ->check(CLI::PositiveNumber);
  command_->add_option("--sampling-topp", options_.top_p,
                       "draw from the best tokens that make up this probability")
      ->check(CLI::Range(0.0, 1.0));
  command_->add_option("--seed", options_.seed, "the same seed gives the same tokens")
      ->capture_default_str();
  command_->add_option("--stop", options_.stop, "end before this text; may be repeated");
  command_->add_option("--state", state_file_,
                       "go on from the text whose state is in this file; needs --prompt")
      ->check(CLI::ExistingFile);
  command_->add_option("--save-state", save_state_file_,
                       "write the text's state to this file; needs --prompt");
  command_->add_flag("--json", json_, "print each text as a JSON object, with its tokens");
}

std::optional<absl::Status> GenerateCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return GenerateAll();
}

absl::Status GenerateCommand::GenerateAll() {
  const bool draws = sampling_ || options_.top_k > 0 || options_.top_p > 0;
  if (temperature_.has_value() && !draws) {
    return absl::InvalidArgumentError("--temperature needs --sampling: the best token is the same");
  }
  if (draws) options_.temperature = temperature_.value_or(1);
  if (!prompt_.has_value() && !(state_file_.empty() && save_state_file_.empty())) {
    return absl::InvalidArgumentError(
        "--state and --save-state are those of one text; give its prompt with --prompt");
  }
  if (!state_file_.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::ifstream file, OpenFile(state_file_));
    std::ostringstream state;
    state << file.rdbuf();
    options_.state = state.str();
  }
  options_.return_state = !save_state_file_.empty();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  Texts texts(client.get());
  if (prompt_.has_value()) return GenerateOne(texts, *prompt_);
  std::string line;
  while (std::getline(std::cin, line)) {
    LEAPSTREAM_RETURN_IF_ERROR(GenerateOne(texts, line));
  }
  return absl::OkStatus();
}

absl::Status GenerateCommand::GenerateOne(Texts& texts, const std::string& prompt) {
  using Json = nlohmann::json;
  std::string whole;
  Json tokens = Json::array();
  absl::Status written;
  const auto on_text = [&](const std::string& text, const std::vector<TextToken>& more) {
    whole += text;
    for (const TextToken& token : more) {
      tokens.push_back({{"id", token.id}, {"piece", token.piece}, {"log_prob", token.log_prob}});
    }
    if (!json_ && written.ok()) written = WriteOutput(text);
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const GeneratedEnd end, texts.Generate(prompt, options_, on_text));
  LEAPSTREAM_RETURN_IF_ERROR(written);
  if (json_) {
    const Json object = {{"prompt", prompt},
                         {"text", whole},
                         {"tokens", std::move(tokens)},
                         {"end", end.end},
                         {"prompt_tokens", end.prompt_tokens},
                         {"generated_tokens", end.generated_tokens}};
    LEAPSTREAM_RETURN_IF_ERROR(WriteOutput(Dump(object) + "\n"));
  } else {
    LEAPSTREAM_RETURN_IF_ERROR(WriteOutput("\n"));
  }
  if (save_state_file_.empty()) return absl::OkStatus();
  if (end.state_too_large) {
    return absl::ResourceExhaustedError(
        "the state is larger than a request to the server may be; use a model with LeaP, whose state "
        "does not grow, or a shorter text");
  }
  return WriteFile(save_state_file_, end.state);
}

}  // namespace leapstream::client
