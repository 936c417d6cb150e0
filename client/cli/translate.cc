#include "client/cli/translate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/cli/cut_segments.h"
#include "client/cli/events_json.h"
#include "client/cli/lanes.h"
#include "client/cli/read_lines.h"
#include "client/cli/segmentation.h"
#include "client/cli/source_words.h"
#include "client/cli/terminal.h"
#include "client/cli/trace.h"
#include "client/cli/typed_words.h"

namespace leapstream::client {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxQueuedItems = 1024;        // With more, standard input is left alone.
constexpr int64_t kMaxUnsentBytes = 256 << 10;  // With more, input waits for a slow server.

// All that a signal handler may touch.
std::atomic<int> interrupts{0};
std::atomic<bool> terminated{false};
std::atomic<bool> resized{false};
std::atomic<bool> continued{false};
int signal_fd = -1;

void OnSignal(int signal) {
  const int saved_errno = errno;
  if (signal == SIGTERM) terminated = true;
  if (signal == SIGWINCH) {
    resized = true;
  } else if (signal == SIGCONT) {
    continued = true;
  } else {
    ++interrupts;
  }
  const uint64_t one = 1;
  if (write(signal_fd, &one, sizeof(one)) < 0) errno = saved_errno;
  errno = saved_errno;
}

absl::Status TakeOverSignals() {
  signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (signal_fd < 0) return absl::InternalError("the system has no file descriptors left");
  struct sigaction action = {};
  action.sa_handler = OnSignal;  // Without SA_RESTART, so that a write to a full pipe ends.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGWINCH, &action, nullptr);
  sigaction(SIGCONT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return absl::OkStatus();
}

bool CancelWanted() { return terminated || interrupts >= 2; }

// Whether both go to the same terminal or file, so that their lines must not run into each other.
bool SameFile(int a, int b) {
  struct stat first, second;
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// Whether `file` is open as the path's file; of a terminal or /dev/null nothing can be lost.
bool IsFile(const std::string& path, int file) {
  struct stat named, opened;
  return stat(path.c_str(), &named) == 0 && fstat(file, &opened) == 0 && S_ISREG(named.st_mode) &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

// Explains the reason of GoingAway.
std::string Why(const std::string& reason) {
  if (reason == "GOING_AWAY_REASON_DRAINING") return "it is being stopped";
  if (reason == "GOING_AWAY_REASON_MAX_DURATION") return "a stream may last no longer there";
  return reason;  // A newer server's reason.
}

// One run: a single thread that waits for input, events, signals and the pace in one poll().
class Translation {
 public:
  // `input` is a file descriptor to read from, not owned.
  Translation(Client& client, const TranslateOptions& options, int input, TraceWriter& trace)
      : options_(options),
        input_(input),
        paced_(options.words_per_second > 0),
        reports_(paced_ || options.verbose || isatty(STDERR_FILENO)),
        lanes_(!options.json && CanDrawLanes() ? std::make_unique<Lanes>(Options(input)) : nullptr),
        raw_input_(lanes_ != nullptr && isatty(input) ? std::make_unique<RawInput>() : nullptr),
        // Without lanes a terminal shows what is typed into it by itself.
        shows_source_(lanes_ == nullptr && (paced_ || (isatty(STDERR_FILENO) && !isatty(input)))),
        one_screen_(SameFile(STDOUT_FILENO, STDERR_FILENO)),
        interval_(paced_ ? absl::Seconds(1) / options.words_per_second : absl::ZeroDuration()),
        segmenter_(options.segmentation),
        trace_(trace),
        stream_(client.StartStream(options.stream)) {}

  absl::Status Run() {
    while (true) {
      while (auto event = stream_->TryNext()) {
        trace_.Add(*event);
        LEAPSTREAM_RETURN_IF_ERROR(std::visit([&](auto& e) { return Show(e); }, *event));
      }
      if (stream_->finished()) return Finish();
      if (CancelWanted()) {
        stream_->Cancel();
        LEAPSTREAM_RETURN_IF_ERROR(EndTargetLine());
        return absl::CancelledError("cancelled");
      }
      if (interrupts > 0 && !std::exchange(interrupted_, true)) OnInterrupt();
      LEAPSTREAM_RETURN_IF_ERROR(SendDueItems());
      LEAPSTREAM_RETURN_IF_ERROR(Draw());
      LEAPSTREAM_RETURN_IF_ERROR(WaitForSomething());
    }
  }

 private:
  static LanesOptions Options(int input) {
    LanesOptions options = TerminalOptions();
    options.typing = isatty(input) == 1;
    return options;
  }

  // Ends the source. When paced, words that have been read may still wait for their time: they are
  // dropped.
  void OnInterrupt() {
    if (paced_) {
      input_open_ = false;
      items_.clear();
    } else if (input_open_) {
      TakeInput(typed_.Finish(), /*last=*/true);
    }
  }

  // Bytes that are not UTF-8 end the input; the text before them is translated.
  void TakeInput(absl::string_view bytes, bool last) {
    std::vector<SourceItem> items;
    input_status_ = words_.Append(bytes, items);
    if (last && input_status_.ok()) input_status_ = words_.Finish(items);
    if (last || !input_status_.ok()) input_open_ = false;
    for (SourceItem& item : items) segmenter_.Add(std::move(item), items_);
    if (!input_open_) segmenter_.Finish(items_);
  }

  absl::Status Draw() {
    if (lanes_ == nullptr) return absl::OkStatus();
    if (resized.exchange(false)) lanes_->Resize(TerminalOptions().columns);
    if (continued.exchange(false) && raw_input_ != nullptr) {
      raw_input_->Apply();
      lanes_->Redraw();
    }
    lanes_->Typing(typed_.open());
    return WriteTarget(lanes_->TakeOutput());
  }

  // Whether the next item may be sent. When paced, the next line waits for the translation of the
  // last one.
  bool MaySend() const {
    if (items_.empty() || (paced_ && segments_completed_ < segments_ended_)) return false;
    return !paced_ || items_.front().text.empty() || SteadyNow() >= next_word_;
  }

  absl::Status SendDueItems() {
    while (MaySend()) {
      const SourceItem item = std::move(items_.front());
      items_.pop_front();
      if (!item.text.empty()) {
        LEAPSTREAM_RETURN_IF_ERROR(stream_->PushText(item.text));
        trace_.Source(item.text);
        ShowSource(item.text);
        // Deadlines follow one another, so that the pace does not drift; after a pause they do not
        // catch up.
        const SteadyTime now = SteadyNow();
        next_word_ = (now - next_word_ > interval_ ? now : next_word_) + interval_;
      }
      if (item.ends_line) {
        LEAPSTREAM_RETURN_IF_ERROR(stream_->EndSegment());
        ++segments_ended_;
        trace_.SourceEnd();
        if (lanes_ != nullptr) lanes_->SourceEnd();
        EndSourceLine();
      }
      last_sent_ = SteadyNow();
    }
    if (!input_open_ && items_.empty() && !closed_) {
      closed_ = true;
      return stream_->CloseSource();
    }
    return absl::OkStatus();
  }

  absl::Status WaitForSomething() {
    const bool reads =
        input_open_ && items_.size() < kMaxQueuedItems && stream_->unsent_bytes() < kMaxUnsentBytes;
    SteadyTime wake = SteadyTime::InfiniteFuture();
    if (paced_ && !items_.empty() && segments_completed_ >= segments_ended_) wake = next_word_;
    if (!closed_ && keep_alive_ > absl::ZeroDuration()) {
      if (SteadyNow() >= last_sent_ + keep_alive_) {
        LEAPSTREAM_RETURN_IF_ERROR(stream_->KeepAlive());
        last_sent_ = SteadyNow();
      }
      wake = std::min(wake, last_sent_ + keep_alive_);
    }
    pollfd fds[] = {
        {signal_fd, POLLIN, 0}, {stream_->ready_fd(), POLLIN, 0}, {reads ? input_ : -1, POLLIN, 0}};
    timespec timeout;
    const bool waits_forever = wake == SteadyTime::InfiniteFuture();
    if (!waits_forever) {
      timeout = absl::ToTimespec(std::max(wake - SteadyNow(), absl::ZeroDuration()));
    }
    if (ppoll(fds, 3, waits_forever ? nullptr : &timeout, nullptr) < 0) {
      if (errno == EINTR) return absl::OkStatus();
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (fds[0].revents != 0) {
      uint64_t count;
      if (read(signal_fd, &count, sizeof(count)) < 0) return absl::OkStatus();
    }
    if (fds[2].revents != 0) return ReadInput();
    return absl::OkStatus();
  }

  absl::Status ReadInput() {
    char buffer[kReadBytes];
    const ssize_t size = read(input_, buffer, sizeof(buffer));
    if (size > 0 && raw_input_ != nullptr) {
      const std::string words = typed_.Append({buffer, static_cast<size_t>(size)});
      TakeInput(words, /*last=*/typed_.ended());
      return absl::OkStatus();
    }
    if (size > 0) {
      TakeInput({buffer, static_cast<size_t>(size)}, /*last=*/false);
      return absl::OkStatus();
    }
    if (size < 0) {
      if (errno == EINTR || errno == EAGAIN) return absl::OkStatus();
      if (errno == EBADF) {
        return absl::InvalidArgumentError(
            "want text on standard input, which is closed; --from-file reads a file");
      }
      return absl::InternalError(absl::StrCat("cannot read the input: ", std::strerror(errno)));
    }
    TakeInput(typed_.Finish(), /*last=*/true);
    return absl::OkStatus();
  }

  absl::Status Show(const Started& started) {
    keep_alive_ = started.limits.idle_timeout / 3;
    last_sent_ = SteadyNow();
    if (options_.verbose) {
      const StreamOptions& applied = started.applied;
      const std::string policy = applied.k.has_value() ? absl::StrCat("k ", *applied.k)
                                 : applied.offline     ? "offline"
                                                       : "learned policy";
      Say(absl::StrFormat("session %s, model %s, %s", started.session_id, started.model, policy));
    }
    return ShowJson(started);
  }

  absl::Status Show(const Delta& delta) {
    if (options_.json) return ShowJson(delta);
    if (lanes_ != nullptr) {
      std::vector<int> reads;
      for (const Token& token : delta.tokens) reads.push_back(token.source_tokens_read);
      lanes_->Target(delta.text, reads);
      return absl::OkStatus();
    }
    if (delta.text.empty()) return absl::OkStatus();
    target_line_open_ = screen_target_open_ = true;
    LEAPSTREAM_RETURN_IF_ERROR(WriteTarget(std::exchange(before_next_, "")));
    return WriteTarget(delta.text);
  }

  absl::Status Show(const SegmentCompleted& completed) {
    if (!completed.continues) ++segments_completed_;
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
    if (options_.json) return ShowJson(completed);
    if (lanes_ != nullptr) {
      lanes_->TargetEnd(lagging);
      return absl::OkStatus();
    }
    if (completed.continues) {
      // A line of input is a line of output, except that sentences which were found get a line
      // each.
      if (target_line_open_) {
        before_next_ = options_.segmentation == Segmentation::kSentence ? "\n" : " ";
      }
      return absl::OkStatus();
    }
    before_next_.clear();
    target_line_open_ = screen_target_open_ = false;
    return WriteTarget("\n");
  }

  absl::Status Show(const GoingAway& away) {
    if (reports_) {
      notes_.push_back(
          absl::StrCat("the server closes this stream within ",
                       absl::FormatDuration(absl::Ceil(away.remaining, absl::Seconds(1))), ": ",
                       Why(away.reason)));
    }
    return ShowJson(away);
  }

  absl::Status Show(const Interrupted& interrupted) {
    Say(absl::StrCat("no server at the moment (", interrupted.why.message(), "); trying again"));
    return ShowJson(interrupted);
  }

  absl::Status Show(const Resumed& resumed) {
    last_sent_ = SteadyNow();
    Say(absl::StrFormat("going on at %s after %.2f s; nothing was lost", resumed.address,
                        absl::ToDoubleSeconds(resumed.gap)));
    return ShowJson(resumed);
  }

  absl::Status Show(const Summary& summary) {
    summary_ = summary;
    const std::string cut = cut_.Add(summary);
    if (!cut.empty()) notes_.push_back(cut);
    return ShowJson(summary);
  }

  template <typename E>
  absl::Status ShowJson(const E& event) {
    if (!options_.json) return absl::OkStatus();
    return WriteTarget(absl::StrCat(ToJson(Event(event)), "\n"));
  }

  absl::Status Finish() {
    LEAPSTREAM_RETURN_IF_ERROR(EndTargetLine());
    EndSourceLine();
    for (const std::string& note : notes_) Report(note);
    if (reports_ && summary_.segments > 0) {
      std::string line = absl::StrFormat("%s, %s, %s", Counted(summary_.segments, "segment"),
                                         Counted(summary_.source_tokens, "source token"),
                                         Counted(summary_.target_tokens, "target token"));
      if (measured_ > 0) {
        absl::StrAppendFormat(&line, "; mean AL %.2f, LAAL %.2f source tokens, first token %.0f ms",
                              lagging_ / measured_, adaptive_lagging_ / measured_,
                              absl::ToDoubleMilliseconds(first_token_ / measured_));
      }
      Report(line);
    }
    LEAPSTREAM_RETURN_IF_ERROR(stream_->Wait());
    LEAPSTREAM_RETURN_IF_ERROR(input_status_);
    return cut_.status();
  }

  // A shell prompt or an error message must not continue a line of ours.
  absl::Status EndTargetLine() {
    if (lanes_ != nullptr) {
      lanes_->Finish();
      return Draw();
    }
    if (!std::exchange(target_line_open_, false)) return absl::OkStatus();
    screen_target_open_ = false;
    return WriteTarget("\n");
  }

  void ShowSource(absl::string_view text) {
    if (lanes_ != nullptr) lanes_->Source(text);
    if (!shows_source_) return;
    if (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    if (one_screen_ && std::exchange(screen_target_open_, false)) WriteStderr("\n");
    WriteStderr(absl::StrCat(source_line_open_ ? " " : "source: ", text));
    source_line_open_ = true;
  }

  void EndSourceLine() {
    if (std::exchange(source_line_open_, false)) WriteStderr("\n");
  }

  void Report(absl::string_view line) {
    EndSourceLine();
    WriteStderr(absl::StrCat("leapstream: ", line, "\n"));
  }

  // A report that cannot wait until the end: it may come within a line of the target.
  void Say(absl::string_view line) {
    if (lanes_ != nullptr && one_screen_) return lanes_->Note(absl::StrCat("leapstream: ", line));
    if (one_screen_ && std::exchange(screen_target_open_, false)) WriteStderr("\n");
    Report(line);
  }

  static void WriteStderr(absl::string_view text) {
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // Nowhere left to complain.
  }

  absl::Status WriteTarget(absl::string_view text) {
    if (one_screen_) EndSourceLine();
    while (!text.empty()) {
      const ssize_t size = write(STDOUT_FILENO, text.data(), text.size());
      if (size >= 0) {
        text.remove_prefix(static_cast<size_t>(size));
      } else if (errno == EINTR) {
        if (CancelWanted()) return absl::CancelledError("cancelled");
      } else if (errno == EAGAIN) {
        pollfd fd = {STDOUT_FILENO, POLLOUT, 0};
        poll(&fd, 1, -1);
        if (CancelWanted()) return absl::CancelledError("cancelled");
      } else if (errno == EPIPE) {
        return absl::DataLossError("nobody reads the output");
      } else {
        return absl::InternalError(absl::StrCat("cannot write the output: ", std::strerror(errno)));
      }
    }
    return absl::OkStatus();
  }

  const TranslateOptions& options_;
  const int input_;
  const bool paced_;
  const bool reports_;                         // Figures and notes go to stderr.
  const std::unique_ptr<Lanes> lanes_;         // Null: plain text.
  const std::unique_ptr<RawInput> raw_input_;  // Null: the input is not typed below the lanes.
  const bool shows_source_;                    // Source words go to stderr as they are sent.
  const bool one_screen_;
  const absl::Duration interval_;  // Time between paced words.

  TypedWords typed_;
  SourceWords words_;
  Segmenter segmenter_;
  TraceWriter& trace_;
  absl::Status input_status_;
  std::deque<SourceItem> items_;  // Items that were read and are to be sent.
  bool input_open_ = true;
  bool interrupted_ = false;
  bool closed_ = false;
  SteadyTime next_word_ = SteadyTime::InfinitePast();
  SteadyTime last_sent_ = SteadyNow();
  absl::Duration keep_alive_ = absl::ZeroDuration();  // 0: not known yet, or no limit.
  int64_t segments_ended_ = 0;
  int64_t segments_completed_ = 0;

  bool target_line_open_ = false;    // stdout stands within a line.
  std::string before_next_;          // Between what continues and the text that follows it.
  bool screen_target_open_ = false;  // So does the screen that stdout and stderr share.
  bool source_line_open_ = false;

  int64_t measured_ = 0;  // Segments in the sums below.
  double lagging_ = 0;
  double adaptive_lagging_ = 0;
  absl::Duration first_token_;
  std::vector<std::string> notes_;
  CutSegments cut_;
  Summary summary_;

  std::unique_ptr<Stream> stream_;  // Declared last: when a run ends early, it is cancelled first.
};

}  // namespace

absl::Status Translate(Client& client, const TranslateOptions& options) {
  LEAPSTREAM_RETURN_IF_ERROR(TakeOverSignals());
  int input = STDIN_FILENO;
  if (!options.input_file.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(input, OpenToPoll(options.input_file));
  }
  TraceWriter trace;
  if (!options.trace_file.empty()) {
    if (IsFile(options.trace_file, input)) {
      return absl::InvalidArgumentError(
          absl::StrCat("want a --trace file that is not the input, which it would replace, got ",
                       options.trace_file));
    }
    LEAPSTREAM_RETURN_IF_ERROR(trace.Open(options.trace_file));
  }
  const absl::Status status = Translation(client, options, input, trace).Run();
  if (input != STDIN_FILENO) close(input);
  if (!status.ok()) return status;
  return trace.Close();
}

}  // namespace leapstream::client
