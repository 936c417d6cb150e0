#include "client/cli/load_command.h"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/connection_flags.h"
#include "client/cli/exit_status.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/cli/signals.h"
#include "client/load/capacity.h"

namespace leapstream::client {
namespace {

constexpr size_t kShownTexts = 3;
constexpr int kMostSessions = 20000;

void PrintLatencies(const char* name, const Latencies& latencies) {
  absl::PrintF("%s  p50 %.1f ms  p95 %.1f ms  p99 %.1f ms\n", name,
               absl::ToDoubleMilliseconds(latencies.Percentile(50)),
               absl::ToDoubleMilliseconds(latencies.Percentile(95)),
               absl::ToDoubleMilliseconds(latencies.Percentile(99)));
}

void PrintFailures(const LoadReport& report) {
  for (const auto& failure : report.failures) {
    absl::PrintF("failed sessions: %d, %s\n", failure.second, failure.first);
  }
}

void Print(const LoadReport& report, const LoadOptions& options) {
  absl::PrintF("sessions sustained: %d of %d, at %g words per second each\n",
               report.sustained_sessions, options.sessions, options.words_per_second);
  PrintLatencies("first token", report.first_token);
  PrintLatencies("every token", report.every_token);
  absl::PrintF("%.1f tokens/s: %d in %.1f s, %d sentences\n",
               static_cast<double>(report.tokens) / absl::ToDoubleSeconds(report.elapsed),
               report.tokens, absl::ToDoubleSeconds(report.elapsed), report.sentences);
  absl::PrintF("average lagging: %.2f source tokens\n", report.average_lagging);
  PrintFailures(report);
  if (report.ended_early) {
    absl::PrintF("ended by a signal: not all were compared with what the sentence alone gives\n");
  }
  absl::PrintF("wrong texts: %d\n", report.wrong_texts.size());
  for (size_t i = 0; i < report.wrong_texts.size() && i < kShownTexts; ++i) {
    absl::PrintF("  %s\n", report.wrong_texts[i]);
  }
}

// A range check that refuses "nan", which CLI::Range() takes.
CLI::Validator Between(double least, double most) {
  return CLI::Validator(
      [least, most](const std::string& text) {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return std::string();
        return absl::StrFormat("must be a number from %g to %g, got `%s`", least, most, text);
      },
      "");
}

}  // namespace

void LoadCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "load",
      "Measure a server under load: many sessions speak sentences at a steady pace, whatever it\n"
      "answers. Each translation must be what was streamed, and what the sentence alone gives.\n"
      "With --find: how many live sessions this server can have.");
  AddConnectionFlags(command_, connection_);
  command_->add_option("--source", source_file_, "sentences to speak, one a line")
      ->check(CLI::ExistingFile)
      ->required();
  command_->add_option("--sessions", options_.sessions, "at once; --find begins with them")
      ->check(CLI::Range(1, kMostSessions))
      ->capture_default_str();
  command_->add_option("--rate", options_.words_per_second, "words per second of each session")
      ->check(Between(0.01, 1000.0))
      ->capture_default_str();
  command_->add_option("--seconds", seconds_, "how long they speak")
      ->check(Between(0.1, 86400.0))
      ->capture_default_str();
  AddModelFlag(command_, options_.stream.model);
  CLI::Option* find = command_->add_flag(
      "--find", find_,
      "find the most sessions at once that lose nothing and keep the p99 of all tokens;\n"
      "each number is tried for --seconds");
  command_->add_option("--p99", most_p99_ms_, "milliseconds that --find allows")
      ->check(Between(1.0, 60000.0))
      ->needs(find)
      ->capture_default_str();
  policy_.AddTo(command_);
  command_->final_callback([this] { options_.stream.policy = policy_.One(); });
  command_->footer(footer);
}

std::optional<absl::Status> LoadCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Measure();
}

absl::Status LoadCommand::Measure() {
  options_.duration = absl::Seconds(seconds_);
  LEAPSTREAM_RETURN_IF_ERROR(signals::TakeOver());
  options_.ends_now = [] {
    if (signals::CancelWanted()) _exit(kExitCancelled);
    return signals::EndWanted();
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> sentences, ReadLines(source_file_));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection_));
  if (find_) return Find(*client, sentences);
  LEAPSTREAM_ASSIGN_OR_RETURN(const LoadReport report, Load(*client, sentences, options_));
  Print(report, options_);
  LEAPSTREAM_RETURN_IF_ERROR(FlushOutput());
  if (!report.wrong_texts.empty()) {
    return absl::InternalError(absl::StrCat(report.wrong_texts.size(), " texts are wrong"));
  }
  // Sessions that a server refuses are a result, unless there is no other result.
  if (report.tokens > 0) return absl::OkStatus();
  if (!report.first_failure.ok()) return report.first_failure;
  return absl::InternalError("no session got a single token");
}

absl::Status LoadCommand::Find(Client& client, const std::vector<std::string>& sentences) {
  options_.compare_alone = false;
  bool full = false;  // The last number that did not hold was too many for max_sessions.
  const auto holds = [&](int sessions) -> absl::StatusOr<bool> {
    options_.sessions = sessions;
    LEAPSTREAM_ASSIGN_OR_RETURN(const LoadReport report, Load(client, sentences, options_));
    absl::PrintF("%5d sessions  ", sessions);
    PrintLatencies("every token", report.every_token);
    PrintFailures(report);
    LEAPSTREAM_RETURN_IF_ERROR(FlushOutput());
    if (report.ended_early) return absl::CancelledError("cancelled");
    if (report.tokens == 0 && !report.first_failure.ok()) return report.first_failure;
    if (!report.wrong_texts.empty()) return absl::InternalError(report.wrong_texts.front());
    const bool quick =
        report.every_token.Percentile(99) <= absl::Milliseconds(most_p99_ms_) && report.tokens > 0;
    if (report.failures.empty() && quick) return true;
    full = ErrorReason(report.first_failure) == "SERVER_FULL";
    return false;
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const Capacity found,
                              FindCapacity(options_.sessions, kMostSessions, holds));
  absl::PrintF("live sessions: %d, at %g words per second each, with p99 within %g ms; ", found.most,
               options_.words_per_second, most_p99_ms_);
  if (found.least == 0) {
    absl::PrintF("more were not tried\n");
  } else if (full) {
    absl::PrintF("%d are more than the server admits (its max_sessions), not than it can do\n",
                 found.least);
  } else {
    absl::PrintF("%d are too many\n", found.least);
  }
  return FlushOutput();
}

}  // namespace leapstream::client
