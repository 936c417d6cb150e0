#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/standard_descriptors.h"
#include "client/cli/admin_command.h"
#include "client/cli/completion.h"
#include "client/cli/connection_flags.h"
#include "client/cli/evaluation_commands.h"
#include "client/cli/events_json.h"
#include "client/cli/load_command.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/cli/terminal.h"
#include "client/cli/trace.h"
#include "client/cli/translate.h"
#include "client/cli/translate_audio.h"
#include "client/cli/web_command.h"
#include "client/client.h"

namespace {

using leapstream::client::Client;
using leapstream::client::ClientOptions;
using leapstream::client::EarlyEnd;
using leapstream::client::Segmentation;

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr int kExitUnavailable = 3;
constexpr int kExitRefused = 4;
constexpr int kExitCancelled = 5;
constexpr int kExitDeadline = 6;

constexpr char kFooter[] = R"(
Exit status:
  0  done
  1  another error, or nobody reads the output any more
  2  wrong usage
  3  no server answers, or it is not available
  4  the request was refused (unknown model, bad argument, no permission, limit reached), source
     was dropped at a limit, or a file or the input is not what it should be or cannot be opened
  5  cancelled
  6  the deadline passed

Examples:
  leapstream translate --k 3 < en.txt > de.txt
  leapstream translate --from-file talk.txt --segment sentence --pace 3/s   # watch it, as if spoken
  leapstream translate --server a:50051,b:50051 < en.txt   # goes on at b when a is lost
  leapstream translate --audio talk.wav         # in real time; --pace max: as fast as it goes
  arecord -t raw -f S16_LE -r 16000 -c 1 | leapstream translate --audio -
  leapstream probe --timeout 30s && leapstream models)";

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return kExitRefused;
    case absl::StatusCode::kCancelled:
      return kExitCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitDeadline;
    default:
      return kExitError;
  }
}

int Report(const absl::Status& status) {
  if (!status.ok() && !absl::IsDataLoss(status)) {  // DATA_LOSS: our reader left, and knows.
    const std::string reason = leapstream::client::ErrorReason(status);
    absl::FPrintF(stderr, "leapstream: %s%s\n",
                  absl::IsDeadlineExceeded(status) ? "the deadline passed" : status.message(),
                  reason.empty() ? "" : absl::StrCat(" (", reason, ")"));
  }
  return ExitCode(status);
}

const CLI::Validator kDuration(
    [](std::string& text) -> std::string {
      absl::Duration duration;
      return absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration()
                 ? ""
                 : absl::StrCat("want a duration such as 500ms or 5s, got ", text);
    },
    "DURATION");

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

absl::Duration ParseDuration(const std::string& text) {
  absl::Duration duration = absl::InfiniteDuration();
  if (!text.empty()) absl::ParseDuration(text, &duration);
  return duration;
}

absl::Status PrintModels(Client& client, bool json) {
  const auto models = client.ListModels();
  if (!models.ok()) return models.status();
  if (json) {
    absl::PrintF("%s\n", leapstream::client::ToJson(*models));
  } else {
    absl::PrintF("%-24s %-12s %-12s %-17s %-10s %s\n", "NAME", "FROM", "TO", "K", "TYPE",
                 "BYTES/SESSION+TOKEN");
    for (const auto& model : *models) {
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
  return leapstream::client::FlushOutput();
}

absl::Status ReplayFile(const std::string& path, const leapstream::client::ReplayOptions& options) {
  if (path == "-") return leapstream::client::Replay(std::cin, options);
  absl::StatusOr<std::ifstream> file = leapstream::client::OpenFile(path);
  if (!file.ok()) return file.status();
  return leapstream::client::Replay(*file, options);
}

int Run(int argc, char** argv) {
  CLI::App app("Translates text while it is still arriving, with a leapstream server.");
  app.name("leapstream");
  app.require_subcommand(0, 1);
  app.footer(kFooter);
  app.set_version_flag("--version", "leapstream " LEAPSTREAM_VERSION);
  app.set_help_all_flag("--help-all", "Print the help of all subcommands and exit");

  ClientOptions connection;
  bool json = false;
  const auto add_server = [&](CLI::App* command) {
    leapstream::client::AddConnectionFlags(command, connection);
    command->footer(kFooter);
  };

  CLI::App* translate = app.add_subcommand(
      "translate",
      "Translate standard input onto standard output while it arrives.\n"
      "To a terminal it draws source, READs and WRITEs, and target side by side.\n"
      "Ctrl-C ends the input, and with --pace drops what is not sent yet; again, the run.");
  leapstream::client::TranslateOptions options;
  std::string early_end, pace, deadline;
  add_server(translate);
  translate->add_option("--model", options.stream.model, "a name that leapstream models lists");
  translate->add_option("--source-lang", options.stream.source_language_code, "such as de");
  translate->add_option("--target-lang", options.stream.target_language_code, "such as en");
  translate->add_option("--k", options.stream.k, "source tokens (pieces of words) read ahead")
      ->check(CLI::Range(1, 1 << 20));
  translate->add_flag("--offline", options.stream.offline, "read each line to its end first")
      ->excludes("--k");
  translate
      ->add_option("--early-end", early_end,
                   "if the model would end before the source does: stop there, suppress the end, "
                   "or read on; default: read on, and go on in a next segment if it stays so")
      ->check(CLI::IsMember({"stop", "suppress", "read-on", "force-finish"}));
  translate->add_option("--max-target-tokens", options.stream.max_target_tokens, "per line")
      ->check(CLI::Range(1, 1 << 20));
  CLI::Option* const from_file =
      translate->add_option("--from-file", options.input_file, "read this file, not standard input")
          ->check(CLI::ExistingFile);
  std::string segmentation = "line";
  CLI::Option* const segment =
      translate
          ->add_option("--segment", segmentation,
                       "what is translated as one: a line, a sentence of running text, or all up "
                       "to an empty line (explicit)")
          ->check(CLI::IsMember({"line", "sentence", "explicit"}))
          ->capture_default_str();
  CLI::Option* const trace =
      translate->add_option("--trace", options.trace_file, "record everything in this file")
          ->type_name("FILE");
  translate
      ->add_option("--pace", pace,
                   "words to send per second, such as 3/s; audio: max, instead of real time")
      ->check(kPace);
  leapstream::client::AudioInputOptions audio;
  translate
      ->add_option("--audio", audio.path,
                   "translate a recording (wav, flac, ...), or - for standard input: "
                   "mono 16-bit little-endian samples, WAV or AU")
      ->type_name("FILE")
      ->excludes(from_file)
      ->excludes(segment)
      ->excludes(trace);
  std::string pause;
  translate
      ->add_option("--pause", pause,
                   "a pause this long in the audio, such as 600ms, ends a segment and a line; 0: "
                   "none does; default: the server's")
      ->check(kDuration | CLI::IsMember({"0"}))
      ->needs("--audio");
  translate
      ->add_option("--pause-threshold", options.stream.pause_threshold_db,
                   "audio below this is quiet, in dB of full scale; default: -40")
      ->check(CLI::Range(-90.0, -1.0))
      ->type_name("DB")
      ->needs("--pause");
  translate->add_option("--sample-rate", audio.sample_rate, "of raw samples on standard input, in Hz")
      ->check(CLI::Range(8000, 192000))
      ->capture_default_str()
      ->needs("--audio");
  translate->add_option("--deadline", deadline, "of the whole run, such as 30s")->check(kDuration);
  translate->add_flag("--json", options.json, "one JSON object per event");
  translate->add_flag("--verbose", options.verbose, "session and lagging on standard error");
  translate->final_callback([&] {
    if (!audio.path.empty() && !pace.empty() && pace != "max") {
      throw CLI::ValidationError("--pace", absl::StrCat("want max with --audio, got ", pace));
    }
  });

  CLI::App* replay =
      app.add_subcommand("replay", "Show again what translate --trace recorded, as it came.");
  std::string trace_file;
  leapstream::client::ReplayOptions replay_options;
  replay->add_option("trace", trace_file, "the recorded file; -: standard input")->required();
  replay->add_option("--speed", replay_options.speed, "times as fast as it was")
      ->check(CLI::Range(0.01, 10000.0))
      ->capture_default_str();
  replay->footer(kFooter);

  CLI::App* models = app.add_subcommand("models", "List the models of the server.");
  add_server(models);
  models->add_flag("--json", json, "as JSON");

  CLI::App* probe = app.add_subcommand("probe", "Wait until the server is serving.");
  std::string timeout = "5s";
  add_server(probe);
  probe->add_option("--timeout", timeout, "how long to wait")
      ->check(kDuration)
      ->capture_default_str();

  CLI::App* completion = app.add_subcommand(
      "completion", "Print a script that completes this program's arguments in a shell.");
  std::string shell;
  completion->add_option("shell", shell, "which")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->footer(kFooter);

  leapstream::client::AdminCommand admin;
  admin.AddTo(app, kFooter);
  leapstream::client::EvaluationCommands evaluation;
  evaluation.AddTo(app, kFooter);
  leapstream::client::LoadCommand load;
  load.AddTo(app, kFooter);
  leapstream::client::WebCommand web;
  web.AddTo(app, kFooter);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  if (app.get_subcommands().empty()) {
    absl::FPrintF(stderr, "leapstream: want a command; leapstream --help lists them\n");
    return kExitUsage;
  }

  if (const auto status = admin.Run()) return Report(*status);
  if (const auto status = evaluation.Run()) return Report(*status);
  if (const auto status = load.Run()) return Report(*status);
  if (completion->parsed()) {
    std::cout << leapstream::client::CompletionScript(app, shell);
    return 0;
  }
  if (const auto status = web.Run()) return Report(*status);
  if (replay->parsed()) return Report(ReplayFile(trace_file, replay_options));
  // Probe() waits by itself.
  if (probe->parsed()) connection.connect_timeout = absl::ZeroDuration();
  auto client = Client::Connect(connection);
  if (!client.ok()) return Report(client.status());
  if (probe->parsed()) return Report((*client)->Probe(ParseDuration(timeout)));
  if (models->parsed()) return Report(PrintModels(**client, json));

  static const std::map<std::string, EarlyEnd> kEarlyEnds = {
      {"", EarlyEnd::kUnspecified},
      {"stop", EarlyEnd::kStop},
      {"suppress", EarlyEnd::kSuppress},
      {"read-on", EarlyEnd::kReadOn},
      {"force-finish", EarlyEnd::kForceFinish},
  };
  static const std::map<std::string, Segmentation> kSegmentations = {
      {"line", Segmentation::kLine},
      {"sentence", Segmentation::kSentence},
      {"explicit", Segmentation::kExplicit},
  };
  options.segmentation = kSegmentations.at(segmentation);
  options.stream.early_end = kEarlyEnds.at(early_end);
  options.stream.next_segments = early_end.empty() && audio.path.empty();
  options.stream.deadline = ParseDuration(deadline);
  options.stream.token_details =
      options.json || !options.trace_file.empty() || leapstream::client::CanDrawLanes();
  options.stream.log_probs = options.json;
  if (!audio.path.empty()) {
    if (!pause.empty()) options.stream.pause = ParseDuration(pause);
    audio.real_time = pace != "max" && audio.path != "-";
    return Report(leapstream::client::TranslateAudio(**client, options, audio));
  }
  if (!pace.empty() && pace != "max") options.words_per_second = WordsPerSecond(pace);
  return Report(leapstream::client::Translate(**client, options));
}

}  // namespace

int main(int argc, char** argv) {
  if (!leapstream::OpenStandardDescriptors()) return 1;
  signal(SIGPIPE, SIG_IGN);  // A write that nobody reads then fails with EPIPE.
  int status = kExitError;
  try {
    status = Run(argc, argv);
  } catch (const std::exception& error) {  // Nothing is known to throw, but memory may end.
    absl::FPrintF(stderr, "leapstream: %s\n", error.what());
  }
  const absl::Status output = leapstream::client::FlushOutput();  // Covers --help, too.
  return status == 0 ? Report(output) : status;
}
