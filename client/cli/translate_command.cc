#include "client/cli/translate_command.h"

#include <map>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/duration_flag.h"
#include "client/cli/early_end_flag.h"
#include "client/cli/terminal.h"

namespace leapstream::client {
namespace {

// Parses "3/s"; 0: `text` is no pace.
double WordsPerSecond(absl::string_view text) {
  double result = 0;
  const bool has_unit = absl::ConsumeSuffix(&text, "/s");
  return has_unit && absl::SimpleAtod(text, &result) && result >= 0.01 && result <= 1000 ? result
                                                                                         : 0;
}

const CLI::Validator kPace(
    [](std::string& text) -> std::string {
      return text == "max" || WordsPerSecond(text) > 0
                 ? ""
                 : absl::StrCat("want words per second, 0.01/s to 1000/s, or max, got ", text);
    },
    "N/s");

}  // namespace

void TranslateCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "translate",
      "Translate standard input onto standard output while it arrives.\n"
      "To a terminal it draws source, READs and WRITEs, and target side by side.\n"
      "Ctrl-C ends the input, and with --pace drops what is not sent yet; again, the run.");
  AddConnectionFlags(command_, connection_);
  command_->footer(footer);
  AddStreamFlags();
  AddInputFlags();
  AddAudioFlags();
  command_->add_option("--deadline", deadline_, "of the whole run, such as 30s")
      ->check(IsDuration());
  command_->add_flag("--json", options_.json, "one JSON object per event");
  command_->add_flag("--verbose", options_.verbose, "session and lagging on standard error");
  command_->final_callback([this] {
    if (!audio_.path.empty() && !pace_.empty() && pace_ != "max") {
      throw CLI::ValidationError("--pace", absl::StrCat("want max with --audio, got ", pace_));
    }
  });
}

void TranslateCommand::AddStreamFlags() {
  StreamOptions& stream = options_.stream;
  command_->add_option("--model", stream.model, "a name that leapstream models lists");
  command_->add_option("--source-lang", stream.source_language_code, "such as de, or the model's own code, such as deu_Latn");
  command_->add_option("--target-lang", stream.target_language_code, "such as en");
  command_->add_option("--k", stream.k, "source tokens (pieces of words) read ahead")
      ->check(CLI::Range(1, 1 << 20));
  command_->add_flag("--offline", stream.offline, "read each line to its end first")
      ->excludes("--k");
  AddEarlyEndFlag(command_,
                  "if the model would end before the source does: stop there, suppress the end, "
                  "or read on; default: read on, and go on in a next segment if it stays so",
                  stream.early_end);
  command_->add_option("--max-target-tokens", stream.max_target_tokens, "per line")
      ->check(CLI::Range(1, 1 << 20));
}

void TranslateCommand::AddInputFlags() {
  command_->add_option("--from-file", options_.input_file, "read this file, not standard input")
      ->check(CLI::ExistingFile);
  command_
      ->add_option("--segment", segmentation_,
                   "what is translated as one: a line, a sentence of running text, or all up "
                   "to an empty line (explicit)")
      ->check(CLI::IsMember({"line", "sentence", "explicit"}))
      ->capture_default_str();
  command_->add_option("--trace", options_.trace_file, "record everything in this file")
      ->type_name("FILE");
  command_
      ->add_option("--pace", pace_,
                   "words to send per second, such as 3/s; audio: max, instead of real time")
      ->check(kPace);
}

void TranslateCommand::AddAudioFlags() {
  command_
      ->add_option("--audio", audio_.path,
                   "translate a recording (wav, flac, ...), or - for standard input: "
                   "mono 16-bit little-endian samples, WAV or AU")
      ->type_name("FILE")
      ->excludes("--from-file")
      ->excludes("--segment")
      ->excludes("--trace");
  command_
      ->add_option("--pause", pause_,
                   "a pause this long in the audio, such as 600ms, ends a segment and a line; 0: "
                   "none does; default: the server's")
      ->check(IsDuration() | CLI::IsMember({"0"}))
      ->needs("--audio");
  command_
      ->add_option("--pause-threshold", options_.stream.pause_threshold_db,
                   "audio below this is quiet, in dB of full scale; default: -40")
      ->check(CLI::Range(-90.0, -1.0))
      ->type_name("DB")
      ->needs("--pause");
  command_
      ->add_option("--sample-rate", audio_.sample_rate, "of raw samples on standard input, in Hz")
      ->check(CLI::Range(8000, 192000))
      ->capture_default_str()
      ->needs("--audio");
}

std::optional<absl::Status> TranslateCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Translation();
}

absl::Status TranslateCommand::Translation() {
  static const std::map<std::string, Segmentation> kSegmentations = {
      {"line", Segmentation::kLine},
      {"sentence", Segmentation::kSentence},
      {"explicit", Segmentation::kExplicit},
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  options_.segmentation = kSegmentations.at(segmentation_);
  StreamOptions& stream = options_.stream;
  stream.next_segments = stream.early_end == EarlyEnd::kUnspecified && audio_.path.empty();
  stream.deadline = ParseDuration(deadline_);
  stream.token_details = options_.json || !options_.trace_file.empty() || CanDrawLanes();
  stream.log_probs = options_.json;
  if (!audio_.path.empty()) {
    if (!pause_.empty()) stream.pause = ParseDuration(pause_);
    audio_.real_time = pace_ != "max" && audio_.path != "-";
    return TranslateAudio(*client, options_, audio_);
  }
  if (!pace_.empty() && pace_ != "max") options_.words_per_second = WordsPerSecond(pace_);
  return Translate(*client, options_);
}

}  // namespace leapstream::client
