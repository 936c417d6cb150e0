#include "client/cli/translate.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/cli/event_printer.h"
#include "client/cli/hypothesis_input.h"
#include "client/cli/read_lines.h"
#include "client/cli/segmentation.h"
#include "client/cli/signals.h"
#include "client/cli/source_words.h"
#include "client/cli/terminal.h"
#include "client/cli/trace.h"
#include "client/cli/typed_words.h"

namespace leapstream::client {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// The time after a signal in which a run may end without a word.
constexpr absl::Duration kSilence = absl::Milliseconds(300);
constexpr size_t kMaxQueuedItems = 1024;        // With more, standard input is left alone.

// Whether `file` is open as the path's file; of a terminal or /dev/null nothing can be lost.
bool IsFile(const std::string& path, int file) {
  struct stat named, opened;
  return stat(path.c_str(), &named) == 0 && fstat(file, &opened) == 0 && S_ISREG(named.st_mode) &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

EventPrinterOptions PrinterOptions(const TranslateOptions& options, int input) {
  EventPrinterOptions result;
  result.json = options.json;
  result.subtitles = options.subtitles;
  result.verbose = options.verbose;
  result.paced = options.words_per_second > 0;
  result.typed = isatty(input) == 1 && !options.hypotheses.has_value();
  result.sentences = options.stream.sentences;
  result.segmentation = options.segmentation;
  return result;
}

// One run: a single thread that waits for input, events, signals and the pace in one poll().
class Translation {
 public:
  // `input` is a file descriptor to read from, not owned.
  Translation(Client& client, const TranslateOptions& options, int input, TraceWriter& trace)
      : input_(input),
        paced_(options.words_per_second > 0),
        interval_(paced_ ? absl::Seconds(1) / options.words_per_second : absl::ZeroDuration()),
        printer_(PrinterOptions(options, input)),
        raw_input_(printer_.draws_lanes() && isatty(input) && !options.hypotheses.has_value()
                       ? std::make_unique<RawInput>()
                       : nullptr),
        segmenter_(options.segmentation),
        trace_(trace),
        stream_(client.StartStream(options.stream)) {
    if (options.hypotheses.has_value()) {
      hypotheses_.emplace(*options.hypotheses, options.segmentation);
    }
  }

  absl::Status Run() {
    while (true) {
      LookAtTerminal();
      while (const auto event = stream_->TryNext()) {
        trace_.Add(*event);
        Note(*event);
        LEAPSTREAM_RETURN_IF_ERROR(printer_.Print(*event));
      }
      if (stream_->finished()) return Finish();
      if (signals::CancelWanted()) {
        stream_->Cancel();
        LEAPSTREAM_RETURN_IF_ERROR(printer_.EndLine());
        return absl::CancelledError("cancelled");
      }
      if (signals::EndWanted() && !std::exchange(interrupted_, true)) OnInterrupt();
      SayWhatIsLeft();
      LEAPSTREAM_RETURN_IF_ERROR(SendDueItems());
      LookAtTerminal();
      LEAPSTREAM_RETURN_IF_ERROR(printer_.Draw());
      LEAPSTREAM_RETURN_IF_ERROR(WaitForSomething());
    }
  }

 private:
  // Ends the source. When paced, words that have been read may still wait for their time: they are
  // dropped.
  void OnInterrupt() {
    say_at_ = SteadyNow() + kSilence;
    if (paced_) {
      input_open_ = false;
      items_.clear();
    } else if (input_open_) {
      TakeInput(typed_.Finish(), /*last=*/true);
    }
  }

  // Tells the user once why a run goes on after a signal.
  void SayWhatIsLeft() {
    if (SteadyNow() < say_at_) return;
    say_at_ = SteadyTime::InfiniteFuture();
    const auto waiting = std::count_if(items_.begin(), items_.end(),
                                       [](const SourceItem& item) { return item.ends_line; });
    const int64_t left = segments_ended_ - segments_completed_ + waiting;
    printer_.Say(absl::StrCat(
        "nothing more is read, and ", Counted(std::max<int64_t>(left, 1), "line"),
        left > 1 ? " are" : " is", " still being translated; Ctrl-C again ends that"));
  }

  // Bytes that are not what the input has to be end it; the text before them is translated.
  void TakeInput(absl::string_view bytes, bool last) {
    if (hypotheses_.has_value()) {
      input_status_ = hypotheses_->Append(bytes, items_);
      if (last || !input_status_.ok()) {
        input_open_ = false;
        input_status_ = hypotheses_->Finish(items_);
      }
      return;
    }
    std::vector<SourceItem> items;
    input_status_ = words_.Append(bytes, items);
    if (last && input_status_.ok()) input_status_ = words_.Finish(items);
    if (last || !input_status_.ok()) input_open_ = false;
    for (SourceItem& item : items) segmenter_.Add(std::move(item), items_);
    if (!input_open_) segmenter_.Finish(items_);
  }

  // Tells the printer what the user and the terminal have changed.
  void LookAtTerminal() {
    if (!printer_.draws_lanes()) return;
    if (signals::TakeResized()) printer_.Resize();
    if (signals::TakeContinued() && raw_input_ != nullptr) {
      raw_input_->Apply();
      printer_.Redraw();
    }
    printer_.Typing(typed_.open());
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
        printer_.Source(item.text);
        // Deadlines follow one another, so that the pace does not drift; after a pause they do not
        // catch up.
        const SteadyTime now = SteadyNow();
        next_word_ = (now - next_word_ > interval_ ? now : next_word_) + interval_;
      }
      if (item.ends_line) {
        LEAPSTREAM_RETURN_IF_ERROR(stream_->EndSegment());
        ++segments_ended_;
        trace_.SourceEnd();
        printer_.SourceEnd();
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
    wake = std::min(wake, say_at_);
    pollfd fds[] = {{stream_->ready_fd(), POLLIN, 0}, {reads ? input_ : -1, POLLIN, 0}};
    LEAPSTREAM_RETURN_IF_ERROR(signals::Poll(absl::MakeSpan(fds), wake));
    return fds[1].revents == 0 ? absl::OkStatus() : ReadInput();
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

  // Remembers of an event what the input waits for.
  void Note(const Event& event) {
    if (const auto* const started = std::get_if<Started>(&event)) {
      keep_alive_ = started->limits.idle_timeout / 3;
      last_sent_ = SteadyNow();
    }
    if (std::holds_alternative<Resumed>(event)) last_sent_ = SteadyNow();
    const auto* const completed = std::get_if<SegmentCompleted>(&event);
    if (completed != nullptr && !completed->continues) ++segments_completed_;
  }

  absl::Status Finish() {
    if (hypotheses_.has_value()) {
      printer_.Hypotheses(hypotheses_->figures(), hypotheses_->has_sentences());
    }
    LEAPSTREAM_RETURN_IF_ERROR(printer_.Finish());
    LEAPSTREAM_RETURN_IF_ERROR(stream_->Wait());
    LEAPSTREAM_RETURN_IF_ERROR(input_status_);
    return printer_.status();
  }

  const int input_;
  const bool paced_;
  const absl::Duration interval_;  // Time between paced words.
  EventPrinter printer_;
  const std::unique_ptr<RawInput> raw_input_;  // Null: the input is not typed below the lanes.

  TypedWords typed_;
  SourceWords words_;
  Segmenter segmenter_;
  std::optional<HypothesisInput> hypotheses_;  // In place of the two above.
  TraceWriter& trace_;
  absl::Status input_status_;
  std::deque<SourceItem> items_;  // Items that were read and are to be sent.
  bool input_open_ = true;
  bool interrupted_ = false;
  bool closed_ = false;
  SteadyTime say_at_ = SteadyTime::InfiniteFuture();  // See SayWhatIsLeft().
  SteadyTime next_word_ = SteadyTime::InfinitePast();
  SteadyTime last_sent_ = SteadyNow();
  absl::Duration keep_alive_ = absl::ZeroDuration();  // 0: not known yet, or no limit.
  int64_t segments_ended_ = 0;
  int64_t segments_completed_ = 0;

  std::unique_ptr<Stream> stream_;  // Declared last: when a run ends early, it is cancelled first.
};

}  // namespace

absl::Status Translate(Client& client, const TranslateOptions& options) {
  LEAPSTREAM_RETURN_IF_ERROR(signals::TakeOver());
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
