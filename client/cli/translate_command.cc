#include "client/cli/translate_command.h"

#include <iostream>
#include <map>
#include <memory>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/duration_flag.h"
#include "client/cli/early_end_flag.h"
#include "client/cli/offline_warning.h"
#include "client/cli/term_flags.h"
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

// Without an answer there is no warning: the session will tell why.
void WarnOfOffline(Client& client, const std::string& model) {
  const auto models = client.ListModels();
  const std::string warning = models.ok() ? OfflineWarning(*models, model) : "";
  if (!warning.empty()) std::cerr << "leapstream: " << warning << std::endl;
}

std::optional<SubtitleFormat> SubtitleFormatOf(const std::string& name) {
  if (name == "srt") return SubtitleFormat::kSrt;
  if (name == "vtt") return SubtitleFormat::kVtt;
  return std::nullopt;
}

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
  AddBeamFlags();
  AddInputFlags();
  AddHypothesisFlags();
  AddAudioFlags();
  command_->add_option("--deadline", deadline_, "of the whole run, such as 30s")
      ->check(IsDuration());
  command_->add_option("--format", format_,
                       "of the output: text, json (one object per event), or subtitles as srt or "
                       "vtt, timed as the text came")
      ->check(CLI::IsMember({"text", "json", "srt", "vtt"}))
      ->type_name("FORMAT");
  command_->add_flag("--json", options_.json, "the same as --format json")->excludes("--format");
  command_->add_flag("--verbose", options_.verbose, "session and lagging on standard error");
  AddFileFlags();
  command_->final_callback([this] {
    options_.stream.policy = policy_.One();
    if (!audio_.path.empty() && !pace_.empty() && pace_ != "max") {
      throw CLI::ValidationError("--pace", absl::StrCat("want max with --audio, got ", pace_));
    }
    if (beam_.n_best > beam_.beam) {
      throw CLI::ValidationError("--nbest", absl::StrCat("want at most --beam, ", beam_.beam,
                                                         ", got ", beam_.n_best));
    }
    if (segmentation_.empty()) segmentation_ = DefaultSegmentation();
    if (hypotheses_.empty() && segmentation_ == "pause") {
      throw CLI::ValidationError(
          "--segment",
          "want line-sentence, line, sentence or explicit without --hypotheses, got pause");
    }
    CheckFiles();
    if (!file_.input.empty() && segmentation_ != "line" && segmentation_ != "line-sentence") {
      throw CLI::ValidationError(
          "--segment", absl::StrCat("want line-sentence or line with --file, got ", segmentation_));
    }
    if (!hypotheses_.empty() && segmentation_ != "sentence" && segmentation_ != "pause") {
      throw CLI::ValidationError(
          "--segment",
          absl::StrCat("want sentence or pause with --hypotheses, got ", segmentation_));
    }
  });
}

// Flags that only some kinds of input know.
void TranslateCommand::CheckFiles() const {
  if (!file_.output.empty() && file_.input.empty() && subtitles_.input.empty()) {
    throw CLI::ValidationError("--output", "want it with --file or --srt");
  }
  const bool makes_cues = format_ == "srt" || format_ == "vtt";
  if (!file_.input.empty() && !format_.empty() && format_ != "text") {
    throw CLI::ValidationError("--format",
                               absl::StrCat("want text with --file, got ", format_));
  }
  if (!subtitles_.input.empty() && !format_.empty() && !makes_cues) {
    throw CLI::ValidationError("--format",
                               absl::StrCat("want srt or vtt with --srt, got ", format_));
  }
}

// With --early-end one wants to see the end of what was sent, and a beam is for what
// fairseq-generate would find for a line.
std::string TranslateCommand::DefaultSegmentation() const {
  if (!hypotheses_.empty()) return "sentence";
  const bool ends_early = options_.stream.early_end != EarlyEnd::kUnspecified;
  const bool searches_lines = !file_.input.empty() && command_->count("--beam") > 0;
  return ends_early || searches_lines ? "line" : "line-sentence";
}

void TranslateCommand::AddStreamFlags() {
  StreamOptions& stream = options_.stream;
  AddModelFlag(command_, stream.model);
  AddLanguageFlags(command_, stream);
  policy_.AddTo(command_);
  AddEarlyEndFlag(command_,
                  "if the model would end before the source does: stop there, suppress the end, "
                  "or read on; default: read on, and go on in a next segment if it stays so",
                  stream.early_end);
  AddTermFlags(command_, stream);
  command_->add_option("--max-target-tokens", stream.max_target_tokens, "per line")
      ->check(CLI::Range(1, 1 << 20));
}

void TranslateCommand::AddBeamFlags() {
  CLI::Option* const beam =
      command_
          ->add_option("--beam", beam_.beam,
                       "search the target with a beam this wide, as fairseq-generate: of a whole "
                       "line with --file or --offline, else of the rest once the line has ended")
          ->check(CLI::Range(1, 64));
  const auto needs_beam = [beam](CLI::Option* option) { return option->needs(beam); };
  needs_beam(command_->add_option("--lenpen", beam_.length_penalty,
                                  "above 1 for longer, below for shorter; default: 1"))
      ->check(CLI::Range(-6.0, 6.0));
  needs_beam(command_->add_option("--min-len", beam_.min_length, "least tokens; default: 1"))
      ->check(CLI::Range(0, 1 << 20));
  needs_beam(command_->add_option("--max-len-a", beam_.max_length_a,
                                  "most tokens: a times the source's, and b; default: 0 and 200"))
      ->check(CLI::Range(0.0, 1e6));
  needs_beam(command_->add_option("--max-len-b", beam_.max_length_b, "see --max-len-a"))
      ->check(CLI::Range(0, 1 << 20));
  needs_beam(command_->add_option("--no-repeat-ngram-size", beam_.no_repeat_ngram,
                                  "no so many tokens come twice; default: they may"))
      ->check(CLI::Range(2, 1 << 20));
}

void TranslateCommand::AddFileFlags() {
  CLI::Option* const file =
      command_
          ->add_option("--file", file_.input,
                       "translate each line of this file as a whole, several at once, in order")
          ->type_name("FILE")
          ->check(CLI::ExistingFile);
  CLI::Option* const subtitles =
      command_
          ->add_option("--srt", subtitles_.input,
                       "translate subtitles, SubRip or WebVTT, and keep their times; a sentence "
                       "over several of them is translated as one")
          ->type_name("FILE")
          ->check(CLI::ExistingFile)
          ->excludes(file)
          ->excludes("--segment");
  for (const char* streamed : {"--early-end", "--max-target-tokens", "--from-file", "--trace",
                               "--pace", "--audio", "--json", "--verbose", "--hypotheses",
                               "--pause"}) {
    file->excludes(streamed);
    subtitles->excludes(streamed);
  }
  command_
      ->add_option("--output", file_.output,
                   "with --file: write here, and go on after the lines that are there; with --srt: "
                   "write here when all is translated; -: standard output, as without")
      ->transform([](const std::string& name) { return name == "-" ? std::string() : name; })
      ->type_name("FILE");
  command_
      ->add_option("--nbest", beam_.n_best,
                   "with --file: this many of the best translations of each line, as "
                   "number, score and text")
      ->check(CLI::Range(1, 64))
      ->needs(file)
      ->needs("--beam");
}

void TranslateCommand::AddInputFlags() {
  command_->add_option("--from-file", options_.input_file, "read this file, not standard input")
      ->check(CLI::ExistingFile);
  command_
      ->add_option("--segment", segmentation_,
                   "what is translated as one: a sentence within a line (line-sentence, the "
                   "default; a line of input is a line of output), a whole line (line), a sentence "
                   "of running text whose lines are joined (sentence), all up to an empty line "
                   "(explicit), or what is said between two pauses, 50 words at most, for a "
                   "recogniser whose text has no full stops (pause)")
      ->check(CLI::IsMember({"line-sentence", "line", "sentence", "explicit", "pause"}));
  command_->add_option("--trace", options_.trace_file, "record everything in this file")
      ->type_name("FILE");
  command_
      ->add_option("--pace", pace_,
                   "words to send per second, such as 3/s; audio: max, instead of real time")
      ->check(kPace);
}

void TranslateCommand::AddHypothesisFlags() {
  command_
      ->add_option("--hypotheses", hypotheses_,
                   "the input is what a speech recogniser writes, in this form; words are sent "
                   "once they are stable, and --segment is sentence or pause (default: sentence)")
      ->check(CLI::IsMember(HypothesisFormatNames()))
      ->type_name("FORMAT");
  command_
      ->add_option("--agreement", agreement_,
                   "different hypotheses in a row that have to agree on a word before it is sent")
      ->check(CLI::Range(1, SourceStabilizer::kMostAgreement))
      ->capture_default_str()
      ->needs("--hypotheses");
}

void TranslateCommand::AddAudioFlags() {
  command_
      ->add_option("--audio", audio_.path,
                   "translate a recording (wav, flac, ogg, opus, mp3, ...), or - for standard "
                   "input: mono 16-bit little-endian samples, WAV or AU")
      ->type_name("FILE")
      ->excludes("--from-file")
      ->excludes("--segment")
      ->excludes("--hypotheses")
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
  command_
      ->add_option("--channel", audio_.channel,
                   "the channel to translate, from 1 on; default: the mean of all")
      ->check(CLI::Range(1, 256))
      ->needs("--audio");
}

std::optional<absl::Status> TranslateCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Translation();
}

TextOptions TranslateCommand::WholeTexts() const {
  TextOptions text;
  text.model = options_.stream.model;
  text.source_language_code = options_.stream.source_language_code;
  text.target_language_code = options_.stream.target_language_code;
  text.policy = options_.stream.policy;
  text.sentences = segmentation_ == "line-sentence";
  text.glossary = options_.stream.glossary;
  text.keep_markup = options_.stream.keep_markup;
  if (command_->count("--beam") > 0) text.beam = beam_;
  text.deadline = ParseDuration(deadline_);
  return text;
}

absl::Status TranslateCommand::Translation() {
  static const std::map<std::string, Segmentation> kSegmentations = {
      {"line-sentence", Segmentation::kLineSentences},
      {"line", Segmentation::kLine},
      {"sentence", Segmentation::kSentence},
      {"explicit", Segmentation::kExplicit},
      {"pause", Segmentation::kPause},
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  const bool searches = command_->count("--beam") > 0;
  if (!subtitles_.input.empty()) {
    subtitles_.text = WholeTexts();
    subtitles_.output = file_.output;
    subtitles_.format = SubtitleFormatOf(format_);
    return TranslateSubtitles(*client, subtitles_);
  }
  if (std::holds_alternative<Offline>(options_.stream.policy.rule) && !searches) {
    WarnOfOffline(*client, options_.stream.model);
  }
  if (!file_.input.empty()) {
    file_.text = WholeTexts();
    file_.hypotheses = command_->count("--nbest") > 0;
    return TranslateFile(*client, file_);
  }
  options_.json = options_.json || format_ == "json";
  options_.subtitles = SubtitleFormatOf(format_);
  if (searches) options_.stream.beam = beam_;
  options_.segmentation = kSegmentations.at(segmentation_);
  if (const auto format = HypothesisFormatOf(hypotheses_); format.has_value()) {
    options_.hypotheses = {*format, agreement_, options_.stream.source_language_code};
  }
  StreamOptions& stream = options_.stream;
  stream.next_segments = stream.early_end == EarlyEnd::kUnspecified && audio_.path.empty();
  stream.sentences =
      HasSentences(options_.segmentation) && hypotheses_.empty() && audio_.path.empty();
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
