#include "client/cli/event_printer.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/cli/output.h"
#include "client/cli/signals.h"
#include "client/cli/terminal.h"
#include "client/json/events_json.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kReaderPatience = absl::Milliseconds(200);
constexpr absl::Duration kReaderLook = absl::Milliseconds(10);

// Whether both go to the same terminal or file, so that their lines must not run into each other.
bool SameFile(int a, int b) {
  struct stat first, second;
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// Explains the reason of GoingAway.
std::string Why(const std::string& reason) {
  if (reason == "GOING_AWAY_REASON_DRAINING") return "it is being stopped";
  if (reason == "GOING_AWAY_REASON_MAX_DURATION") return "a stream may last no longer there";
  return reason;  // A newer server's reason.
}

// Whether source words go to standard error as they are sent. Without lanes a terminal shows what
// is typed into it by itself. If the output goes through a pipe, such as tee, to the same terminal,
// the words of both would run into each other.
bool ShowsSource(const EventPrinterOptions& options) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal && !options.verbose && !SameFile(STDOUT_FILENO, STDERR_FILENO)) return false;
  return options.paced || (terminal && !options.typed);
}

std::unique_ptr<Lanes> MakeLanes(const EventPrinterOptions& options) {
  if (options.json || options.subtitles.has_value() || options.speech) return nullptr;
  if (!CanDrawLanes()) return nullptr;
  LanesOptions lanes = TerminalOptions();
  lanes.typing = options.typed;
  return std::make_unique<Lanes>(lanes);
}

// Waits a moment until the reader of a pipe has taken what is in it. A reader such as tee may write
// that to the same screen, where the lines that come next must not stand within it.
void AwaitReader(int file) {
  struct stat status = {};
  if (fstat(file, &status) != 0 || !S_ISFIFO(status.st_mode)) return;
  const SteadyTime until = SteadyNow() + kReaderPatience;
  int unread = 0;
  while (ioctl(file, FIONREAD, &unread) == 0 && unread > 0 && SteadyNow() < until) {
    if (!signals::Poll({}, SteadyNow() + kReaderLook).ok()) return;
  }
  (void)signals::Poll({}, SteadyNow() + kReaderLook);  // It writes what it has taken.
}

void WriteStderr(absl::string_view text) {
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // Nowhere left to complain.
}

}  // namespace

EventPrinter::EventPrinter(const EventPrinterOptions& options)
    : options_(options),
      lanes_(MakeLanes(options)),
      reports_(options.paced || options.verbose || isatty(STDERR_FILENO)),
      shows_source_(lanes_ == nullptr && !options.speech && ShowsSource(options)),
      one_screen_(SameFile(STDOUT_FILENO, STDERR_FILENO)) {}

absl::Status EventPrinter::Print(const Event& event) {
  LEAPSTREAM_RETURN_IF_ERROR(std::visit([&](const auto& e) { return Show(e); }, event));
  if (options_.json) LEAPSTREAM_RETURN_IF_ERROR(WriteTarget(absl::StrCat(ToJson(event), "\n")));
  const auto* const completed = std::get_if<SegmentCompleted>(&event);
  if (completed != nullptr && completed->stats.has_value() && options_.speech && options_.verbose) {
    ShowFigures(*completed->stats);
  }
  return absl::OkStatus();
}

absl::Status EventPrinter::Show(const Started& started) {
  started_ = SteadyNow();
  if (options_.verbose) {
    Say(absl::StrFormat("session %s, model %s, policy %s", started.session_id, started.model,
                        ToText(started.applied.policy)));
  }
  if (options_.sentences && !started.applied.sentences) {
    notes_.push_back(
        "this server is older than the program and finds no sentences; a segment was all up to the "
        "end of a line, or with --segment sentence up to an empty line");
  }
  if (options_.subtitles.has_value()) return WriteTarget(SubtitleHead(*options_.subtitles));
  return absl::OkStatus();
}

absl::Status EventPrinter::Show(const Delta& delta) {
  if (options_.json) return absl::OkStatus();
  if (lanes_ != nullptr) {
    std::vector<int> reads;
    for (const Token& token : delta.tokens) reads.push_back(token.source_tokens_read);
    lanes_->Target(delta.text, reads);
    return absl::OkStatus();
  }
  if (options_.subtitles.has_value()) {
    return ShowCues(delta.audio_offset_ms > 0
                        ? speech_cues_.Add(delta.text, absl::Milliseconds(delta.audio_offset_ms))
                        : cue_maker_.Add(delta.text, SteadyNow() - started_));
  }
  if (delta.text.empty()) return absl::OkStatus();
  target_line_open_ = screen_target_open_ = true;
  LEAPSTREAM_RETURN_IF_ERROR(WriteTarget(std::exchange(before_next_, "")));
  return WriteTarget(delta.text);
}

absl::Status EventPrinter::Show(const SegmentCompleted& completed) {
  std::optional<double> lagging;  // A segment that wrote nothing has none.
  if (completed.stats.has_value() && completed.stats->target_tokens > 0) {
    lagging = completed.stats->average_lagging;
    ++measured_;
    lagging_ += completed.stats->average_lagging;
    adaptive_lagging_ += completed.stats->length_adaptive_average_lagging;
    first_token_ += completed.stats->first_token;
  }
  const std::string cut = cut_.Add(completed);
  if (!cut.empty()) notes_.push_back(cut);
  if (options_.json) return absl::OkStatus();
  if (options_.subtitles.has_value()) {
    cue_maker_.EndCue();
    return ShowCues(speech_cues_.EndSegment(absl::Milliseconds(completed.audio_start_ms),
                                            absl::Milliseconds(completed.audio_end_ms)));
  }
  if (lanes_ != nullptr) {
    lanes_->TargetEnd(lagging);
    return absl::OkStatus();
  }
  return ShowEnd(completed);
}

absl::Status EventPrinter::ShowCues(const std::vector<Cue>& cues) {
  std::string text;
  for (const Cue& cue : cues) absl::StrAppend(&text, FormatCue(cue, ++cues_, *options_.subtitles));
  return text.empty() ? absl::OkStatus() : WriteTarget(text);
}

absl::Status EventPrinter::ShowEnd(const SegmentCompleted& completed) {
  if (completed.continues) {
    // A line of input is a line of output, except that sentences which were found get a line each.
    if (target_line_open_) {
      before_next_ = options_.segmentation == Segmentation::kSentence ||
                             options_.segmentation == Segmentation::kPause
                         ? "\n"
                         : " ";
    }
    return absl::OkStatus();
  }
  before_next_.clear();
  target_line_open_ = screen_target_open_ = false;
  return WriteTarget("\n");
}

absl::Status EventPrinter::Show(const GoingAway& away) {
  away_ = absl::StrCat("the server closes this stream within ",
                       absl::FormatDuration(absl::Ceil(away.remaining, absl::Seconds(1))), ": ",
                       Why(away.reason));
  return absl::OkStatus();
}

absl::Status EventPrinter::Show(const Interrupted& interrupted) {
  // A move that succeeds at once is no news.
  if (reports_ && !away_.empty()) Say(away_);
  away_.clear();
  const bool waits = ErrorReason(interrupted.why) == "QUOTA_EXCEEDED";  // The server is there.
  Say(absl::StrCat(waits ? "waiting (" : "no server at the moment (", interrupted.why.message(),
                   waits ? ")" : "); trying again"));
  return absl::OkStatus();
}

absl::Status EventPrinter::Show(const Resumed& resumed) {
  away_.clear();
  Say(absl::StrFormat("going on at %s after %.2f s; nothing was lost", resumed.address,
                      absl::ToDoubleSeconds(resumed.gap)));
  return absl::OkStatus();
}

absl::Status EventPrinter::Show(const Summary& summary) {
  summary_ = summary;
  away_.clear();
  const std::string cut = cut_.Add(summary);
  if (!cut.empty()) notes_.push_back(cut);
  return absl::OkStatus();
}

void EventPrinter::ShowFigures(const SegmentStats& stats) {
  Say(absl::StrFormat(
      "%.2f s of audio, %d target tokens, AL %.0f ms, LAAL %.0f ms, computation-aware AL %.0f ms, "
      "compute %.0f ms",
      stats.source_audio_ms / 1000, stats.target_tokens, stats.average_lagging,
      stats.length_adaptive_average_lagging,
      stats.computation_aware.value_or(Lagging()).average_lagging,
      absl::ToDoubleMilliseconds(stats.compute)));
}

void EventPrinter::Source(absl::string_view text) {
  if (lanes_ != nullptr) lanes_->Source(text);
  if (!shows_source_) return;
  if (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (one_screen_ && std::exchange(screen_target_open_, false)) WriteStderr("\n");
  WriteStderr(absl::StrCat(source_line_open_ ? " " : "source: ", text));
  source_line_open_ = true;
}

void EventPrinter::SourceEnd() {
  if (lanes_ != nullptr) lanes_->SourceEnd();
  EndSourceLine();
}

void EventPrinter::Typing(absl::string_view word) {
  if (lanes_ != nullptr) lanes_->Typing(word);
}

void EventPrinter::Resize() {
  if (lanes_ != nullptr) lanes_->Resize(TerminalOptions().columns);
}

void EventPrinter::Redraw() {
  if (lanes_ != nullptr) lanes_->Redraw();
}

absl::Status EventPrinter::Draw() {
  return lanes_ == nullptr ? absl::OkStatus() : WriteTarget(lanes_->TakeOutput());
}

absl::Status EventPrinter::EndLine() {
  if (lanes_ != nullptr) {
    lanes_->Finish();
    return Draw();
  }
  if (options_.subtitles.has_value()) {
    LEAPSTREAM_RETURN_IF_ERROR(ShowCues(cue_maker_.Finish()));
    return ShowCues(speech_cues_.Finish());
  }
  if (!std::exchange(target_line_open_, false)) return absl::OkStatus();
  screen_target_open_ = false;
  return WriteTarget("\n");
}

absl::Status EventPrinter::Finish() {
  LEAPSTREAM_RETURN_IF_ERROR(EndLine());
  EndSourceLine();
  if (reports_ && isatty(STDERR_FILENO) != 0) AwaitReader(STDOUT_FILENO);
  if (reports_ && !away_.empty()) Report(away_);
  for (const std::string& note : notes_) Report(note);
  // Those of speech came with each segment.
  if (reports_ && !options_.speech && summary_.segments > 0) Report(Figures());
  if (!hypotheses_.has_value()) return absl::OkStatus();
  if (reports_ && options_.segmentation == Segmentation::kPause) {
    Report(
        "segments end at pauses and after 50 words, and need not be sentences (--segment pause)");
  }
  // Words that were sent and then contradicted are of interest in any case.
  if (reports_ || hypotheses_->repairs > 0) Report(HypothesisFigures());
  if (!options_.json) return absl::OkStatus();
  return WriteTarget(absl::StrFormat(
      R"({"event":"hypotheses","hypotheses":%d,"finals":%d,"words":%d,"repairs":%d,)"
      R"("repaired_words":%d})"
      "\n",
      hypotheses_->hypotheses, hypotheses_->finals, hypotheses_->words, hypotheses_->repairs,
      hypotheses_->repaired_words));
}

std::string EventPrinter::Figures() const {
  std::string line = absl::StrFormat("%s, %s, %s", Counted(summary_.segments, "segment"),
                                     Counted(summary_.source_tokens, "source token"),
                                     Counted(summary_.target_tokens, "target token"));
  if (measured_ > 0) {
    absl::StrAppendFormat(&line, "; mean AL %.2f, LAAL %.2f source tokens, first token %.0f ms",
                          lagging_ / measured_, adaptive_lagging_ / measured_,
                          absl::ToDoubleMilliseconds(first_token_ / measured_));
  }
  return line;
}

void EventPrinter::Hypotheses(const StabilizerFigures& figures, bool has_sentences) {
  hypotheses_ = figures;
  if (options_.segmentation == Segmentation::kSentence && !has_sentences && figures.words >= 50) {
    notes_.push_back(
        "no sentence ends in the recogniser's text, which was cut every 50 words; --segment pause "
        "cuts it at pauses");
  }
}

std::string EventPrinter::HypothesisFigures() const {
  return absl::StrFormat(
      "hypotheses: %d, %d of them final; %s sent, %s (the recogniser revised %s that had been "
      "sent)",
      hypotheses_->hypotheses, hypotheses_->finals, Counted(hypotheses_->words, "word"),
      Counted(hypotheses_->repairs, "repair"), Counted(hypotheses_->repaired_words, "word"));
}

void EventPrinter::EndSourceLine() {
  if (std::exchange(source_line_open_, false)) WriteStderr("\n");
}

void EventPrinter::Report(absl::string_view line) {
  EndSourceLine();
  WriteStderr(absl::StrCat("leapstream: ", line, "\n"));
}

// A report that cannot wait until the end: it may come within a line of the target.
void EventPrinter::Say(absl::string_view line) {
  if (lanes_ != nullptr && one_screen_) return lanes_->Note(absl::StrCat("leapstream: ", line));
  if (one_screen_ && std::exchange(screen_target_open_, false)) WriteStderr("\n");
  Report(line);
}

absl::Status EventPrinter::WriteTarget(absl::string_view text) {
  if (one_screen_) EndSourceLine();
  return WriteOutput(text);
}

}  // namespace leapstream::client
