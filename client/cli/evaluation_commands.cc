#include "client/cli/evaluation_commands.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <system_error>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/early_end_flag.h"
#include "client/cli/output.h"
#include "client/cli/plot.h"
#include "client/cli/read_lines.h"
#include "client/cli/term_flags.h"
#include "client/evaluation/instance.h"
#include "client/evaluation/latency_unit.h"
#include "client/evaluation/png.h"
#include "metrics/bleu.h"

namespace leapstream::client {
namespace {

const CLI::IsMember kUnit({"word", "char", "spm"});

const CLI::Validator kTokenizer(
    [](std::string& name) -> std::string {
      if (metrics::BleuTokenizerOf(name).has_value()) return "";
      static constexpr absl::string_view kNeedMore[] = {"ja-mecab", "ko-mecab",  "spm",
                                                        "flores101", "flores200", "spBLEU-1K"};
      if (absl::c_linear_search(kNeedMore, name)) {
        return absl::StrCat("want 13a, zh, char, intl or none, got ", name,
                            ", which needs a dictionary or a model; evaluate with another, then "
                            "score what was written with simuleval --score-only --output DIR "
                            "--sacrebleu-tokenizer ",
                            name, ", or its predictions with sacrebleu --tokenize ", name);
      }
      return absl::StrCat("want 13a, zh, char, intl or none, got ", name);
    },
    "{13a,zh,char,intl,none}");

bool IsPng(absl::string_view name) { return absl::EndsWithIgnoreCase(name, ".png"); }

const CLI::Validator kPicture(
    [](std::string& name) -> std::string {
      return name == "-" || IsPng(name) || absl::EndsWithIgnoreCase(name, ".svg")
                 ? ""
                 : absl::StrCat("want a name that ends in .svg or .png, or -; got ", name);
    },
    "FILE");

absl::Status Plot(const std::string& input, const std::string& output) {
  absl::StatusOr<std::string> svg;
  if (input == "-") {
    svg = PlotEvents(std::cin);
  } else {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::ifstream file, OpenFile(input));
    svg = PlotEvents(file);
  }
  LEAPSTREAM_RETURN_IF_ERROR(svg.status());
  if (output == "-") {
    std::cout << *svg;
    return FlushOutput();
  }
  std::string picture = *std::move(svg);
  if (IsPng(output)) {
    LEAPSTREAM_ASSIGN_OR_RETURN(picture, SvgToPng(picture));
  }
  return WriteFile(output, picture);
}

}  // namespace

void EvaluationCommands::AddStreamOptions(CLI::App* command, ClientOptions& connection,
                                          std::string& model_folder, StreamOptions& stream) {
  AddConnectionFlags(command, connection);
  command
      ->add_option_function<std::string>(
          "--model",
          [&model_folder, &stream](const std::string& given) {
            std::error_code error;
            const bool is_folder = std::filesystem::is_directory(given, error);
            (is_folder ? model_folder : stream.model) = given;
          },
          "a name that leapstream models lists, or a model directory: a server of its own is "
          "started for that, and ended")
      ->check([](const std::string& given) {
        std::error_code error;
        const bool no_folder =
            absl::StrContains(given, '/') && !std::filesystem::is_directory(given, error);
        return no_folder ? absl::StrCat("there is no directory ", given) : std::string();
      })
      ->type_name("NAME|DIR");
  command->add_option("--model-name", stream.model, "a name, also if a directory has it");
  AddLanguageFlags(command, stream);
  AddEarlyEndFlag(command,
                  "if the model would end before the source does: stop there (as fairseq's "
                  "agents), suppress the end, read on, or force-finish (as its speech agent does "
                  "with that option)",
                  stream.early_end);
  AddTermFlags(command, stream);
}

void EvaluationCommands::CheckStreamOptions(const CLI::App* command,
                                            const std::string& model_folder) {
  if (model_folder.empty()) return;
  for (const char* flag : {"--server", "--tls", "--token-file"}) {
    if (command->count(flag) > 0) {
      throw CLI::ExcludesError(absl::StrCat("--model ", model_folder, ", a directory,"), flag);
    }
  }
}

void EvaluationCommands::AddScoringOptions() {
  evaluate_
      ->add_option("--eval-latency-unit", unit_,
                   "target units that lagging is counted in, as SimulEval's; default: word, and "
                   "char if the references are written without spaces")
      ->check(kUnit);
  evaluate_
      ->add_option("--sacrebleu-tokenizer", tokenizer_,
                   "of BLEU, as sacreBLEU's; default: 13a, and zh or char if the references are "
                   "written without spaces")
      ->check(kTokenizer);
  evaluate_
      ->add_option("--start-index", evaluate_options_.start_index,
                   "the first line to evaluate, from 0")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  evaluate_
      ->add_option("--end-index", evaluate_options_.end_index,
                   "the line to stop before; -1: none is")
      ->check(CLI::Range(-1, std::numeric_limits<int>::max()))
      ->capture_default_str();
  CLI::Option* const quality =
      evaluate_->add_option("--quality-metrics", quality_metrics_, "those to write; default: all")
          ->check(CLI::IsMember(QualityMetrics()))
          ->type_name("NAME ...");
  CLI::Option* const latency =
      evaluate_->add_option("--latency-metrics", latency_metrics_, "those to write; default: all")
          ->check(CLI::IsMember(LatencyMetrics()))
          ->type_name("NAME ...");
  evaluate_
      ->add_flag("--no-scoring", no_scoring_, "write instances.log and config.yaml alone")
      ->excludes(quality)
      ->excludes(latency);
}

void EvaluationCommands::AddTo(CLI::App& app, const std::string& footer) {
  AddEvaluate(app);
  AddBridge(app);
  AddPlot(app);
  for (CLI::App* command : {evaluate_, bridge_, plot_}) command->footer(footer);
}

void EvaluationCommands::AddEvaluate(CLI::App& app) {
  evaluate_ = app.add_subcommand(
      "evaluate",
      "Translate a test set and score it: BLEU and chrF as sacreBLEU, lagging as SimulEval 1.1.\n"
      "Writes SimulEval's instances.log, scores.tsv, curve.svg and curve.png. Several policies\n"
      "are compared in one table and one picture.");
  CLI::Option* const source =
      evaluate_->add_option("--source", evaluate_options_.source_file, "a sentence per line")
          ->type_name("FILE");
  evaluate_
      ->add_option("--audio", evaluate_options_.source_file,
                   "instead, of speech: the path of a recording per line, as SimulEval's list")
      ->excludes(source)
      ->type_name("FILE");
  evaluate_->add_option("--target", evaluate_options_.target_file, "its reference per line")
      ->required()
      ->type_name("FILE");
  evaluate_
      ->add_option("--output", evaluate_options_.output_folder,
                   "the folder to write to: a new or an empty one")
      ->required()
      ->type_name("DIR");
  evaluated_policies_.AddTo(evaluate_, PolicyFlags::Number::kSeveral);
  AddStreamOptions(evaluate_, evaluate_options_.connection, evaluate_options_.model_folder,
                   evaluate_options_.stream);
  evaluate_->add_option("--sessions", evaluate_options_.sessions, "sentences at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  evaluate_
      ->add_option("--words-per-second", evaluate_options_.words_per_second,
                   "of the speaker: what a second of computation counts in the _CA scores")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str()
      ->excludes("--audio");
  evaluate_
      ->add_flag("--joined-vocabulary", evaluate_options_.joined_vocabulary,
                 "source and target have one tokenizer: measure lagging in pieces against the "
                 "references' length, not the translations' own, with which LAAL is AL")
      ->excludes("--audio");
  AddScoringOptions();
  evaluate_->final_callback([this] {
    CheckStreamOptions(evaluate_, evaluate_options_.model_folder);
    if (evaluate_options_.source_file.empty()) throw CLI::RequiredError("--source or --audio");
    evaluate_options_.speech = evaluate_->count("--audio") > 0;
    evaluate_options_.policies = evaluated_policies_.Policies();
    evaluate_options_.scoring = {LatencyUnitOf(unit_), metrics::BleuTokenizerOf(tokenizer_)};
    evaluate_options_.scores = !no_scoring_;
    if (quality_metrics_.empty() && latency_metrics_.empty()) return;
    evaluate_options_.metrics = quality_metrics_.empty() ? QualityMetrics() : quality_metrics_;
    absl::c_copy(latency_metrics_.empty() ? LatencyMetrics() : latency_metrics_,
                 std::back_inserter(evaluate_options_.metrics));
  });
}

void EvaluationCommands::AddBridge(CLI::App& app) {
  bridge_ = app.add_subcommand(
      "simuleval-bridge",
      "Let SimulEval 1.1 evaluate a server: speaks its remote protocol (simuleval --remote-eval).");
  bridge_->add_option("--host", bridge_options_.host, "address to listen on")
      ->capture_default_str();
  bridge_->add_option("--port", bridge_options_.port, "to listen on; 0: a free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  bridge_->add_option("--port-file", bridge_options_.port_file, "file to write the port to");
  bridge_policy_.AddTo(bridge_);
  AddStreamOptions(bridge_, bridge_options_.connection, bridge_options_.model_folder,
                   bridge_options_.stream);
  bridge_
      ->add_option("--eval-latency-unit", unit_,
                   "what simuleval is given as that; default: word, and char if the model's target "
                   "language is written without spaces")
      ->check(kUnit);
  bridge_->final_callback([this] {
    CheckStreamOptions(bridge_, bridge_options_.model_folder);
    bridge_options_.stream.policy = bridge_policy_.One();
    bridge_options_.unit = LatencyUnitOf(unit_);
  });
}

void EvaluationCommands::AddPlot(CLI::App& app) {
  plot_ = app.add_subcommand("plot",
                             "Draw the READ/WRITE staircase of what translate --json or --trace "
                             "recorded, or grpcurl.");
  plot_->add_option("events", plot_input_, "the recorded events, JSON objects; -: stdin")
      ->required();
  plot_->add_option("--output,-o", plot_output_, "a .svg or a .png file; -: SVG on stdout")
      ->check(kPicture)
      ->capture_default_str();
}

std::optional<absl::Status> EvaluationCommands::Run() {
  if (evaluate_->parsed()) return EvaluateCommand(evaluate_options_);
  if (bridge_->parsed()) return SimulEvalBridge(bridge_options_);
  if (plot_->parsed()) return Plot(plot_input_, plot_output_);
  return std::nullopt;
}

}  // namespace leapstream::client
