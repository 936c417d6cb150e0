#include "client/cli/perplexity_command.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/json/dump.h"
#include "client/texts.h"

namespace leapstream::client {
namespace {

// A call has so many lines, or rows of so many tokens together; all is far below a server's limits.
constexpr size_t kLinesPerCall = 1000;
constexpr size_t kTokensPerCall = 1 << 16;
constexpr size_t kRowsPerCall = 1000;

absl::StatusOr<std::vector<std::vector<int32_t>>> TokensOfLines(
    Texts& texts, const std::string& model, const std::vector<std::string>& lines, bool pieces) {
  std::vector<std::vector<int32_t>> ids;
  for (size_t begin = 0; begin < lines.size(); begin += kLinesPerCall) {
    const std::vector<std::string> part(
        lines.begin() + static_cast<std::ptrdiff_t>(begin),
        lines.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kLinesPerCall, lines.size())));
    LEAPSTREAM_ASSIGN_OR_RETURN(const auto more, texts.Tokenize(model, part, pieces));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

struct Sum {
  double log_prob = 0;
  int64_t tokens = 0;
};

absl::Status AddScores(Texts& texts, const std::string& model, std::vector<ScoredRow>* rows,
                       Sum* sum) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto scores, texts.Score(model, *rows));
  for (const std::vector<float>& row : scores) {
    for (const float score : row) sum->log_prob += score;
    sum->tokens += static_cast<int64_t>(row.size());
  }
  rows->clear();
  return absl::OkStatus();
}

// The limit of the blocks' lengths that fairseq's command would have.
absl::StatusOr<int> TrainedTokens(Client& client, const std::string& name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<Model> models, client.ListModels());
  for (const Model& model : models) {
    if (name.empty() ? model.generates && model.source_language_codes.empty()
                     : model.name == name) {
      return model.trained_text_tokens;
    }
  }
  return 0;  // The server says what is wrong with the name.
}

}  // namespace

void PerplexityCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "perplexity", "Measure how well a language model predicts a file, as fairseq-eval-lm does.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  command_->add_option("FILE", file_, "text, a line a sentence")->required();
  AddModelFlag(command_, model_, "the model; default: the only language model");
  command_->add_option("--sample-break-mode", blocks_.sample_break_mode,
                       "none: blocks of tokens; complete: of whole lines; complete_doc: not beyond "
                       "an empty line; eos: each line")
      ->check(CLI::IsMember({"none", "complete", "complete_doc", "eos"}))
      ->capture_default_str();
  command_->add_option("--tokens-per-sample", blocks_.tokens_per_sample,
                       "the tokens of a row, those before its block included")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command_->add_option("--context-window", blocks_.context_window,
                       "the tokens before each block, out of --tokens-per-sample")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command_->add_option("--max-target-positions", max_target_positions_,
                       "leave longer blocks out, as fairseq-eval-lm does; 0: none; default: the "
                       "model's own")
      ->check(CLI::NonNegativeNumber);
  command_->add_flag("--pieces", pieces_, "the file has pieces with spaces between them");
  command_->add_flag("--json", json_, "as JSON");
}

std::optional<absl::Status> PerplexityCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Measure();
}

absl::Status PerplexityCommand::Measure() {
  LEAPSTREAM_RETURN_IF_ERROR(CheckBlockOptions(blocks_));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(file_));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  Texts texts(client.get());
  if (max_target_positions_.has_value()) {
    blocks_.max_target_positions = *max_target_positions_;
  } else {
    LEAPSTREAM_ASSIGN_OR_RETURN(blocks_.max_target_positions, TrainedTokens(*client, model_));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto ids, TokensOfLines(texts, model_, lines, pieces_));
  const TextBlocks blocks = CutText(ids, blocks_);
  Sum sum;
  std::vector<ScoredRow> rows;
  size_t tokens = 0;
  for (const TextBlock& block : blocks.rows) {
    rows.push_back({block.ids, block.start + 1, /*without_start=*/true});
    tokens += block.ids.size();
    if (tokens < kTokensPerCall && rows.size() < kRowsPerCall) continue;
    LEAPSTREAM_RETURN_IF_ERROR(AddScores(texts, model_, &rows, &sum));
    tokens = 0;
  }
  if (!rows.empty()) LEAPSTREAM_RETURN_IF_ERROR(AddScores(texts, model_, &rows, &sum));
  if (sum.tokens == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("no token was scored: ", blocks.skipped, " blocks are longer than ",
                     blocks_.max_target_positions,
                     " tokens, for which the model was trained; give a smaller "
                     "--tokens-per-sample, or --max-target-positions 0"));
  }
  const double loss = -sum.log_prob / static_cast<double>(sum.tokens) / std::log(2.0);
  const double perplexity = std::exp2(loss);
  if (json_) {
    const nlohmann::json object = {{"tokens", sum.tokens},
                                   {"blocks", blocks.rows.size()},
                                   {"skipped_blocks", blocks.skipped},
                                   {"sum_logprob", sum.log_prob},
                                   {"loss_base2", loss},
                                   {"perplexity", perplexity}};
    absl::PrintF("%s\n", Dump(object));
  } else {
    absl::PrintF("Loss (base 2): %.4f, Perplexity: %.2f, of %d tokens in %d blocks", loss,
                 perplexity, sum.tokens, blocks.rows.size());
    if (blocks.skipped > 0) absl::PrintF("; %d longer blocks were left out", blocks.skipped);
    absl::PrintF("\n");
  }
  return FlushOutput();
}

}  // namespace leapstream::client
