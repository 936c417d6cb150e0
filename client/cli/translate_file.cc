#include "client/cli/translate_file.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"

namespace leapstream::client {
namespace {

// The lines that are under way at once; the server decides steps of all of them as one batch.
constexpr size_t kInFlight = 16;
constexpr absl::Duration kDrawInterval = absl::Milliseconds(200);

// One line of output has no line feed within it.
std::string OneLine(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\r", " "}, {"\n", " "}});
}

// Lines that are translated on several threads and taken in order. Thread-safe.
class Pipeline {
 public:
  // Translates the lines from `first` on. All arguments must outlive the pipeline.
  Pipeline(Client& client, const std::vector<std::string>& lines, size_t first,
           const TextOptions& options)
      : client_(client), lines_(lines), options_(options), next_(first), to_take_(first) {
    const size_t count = std::min(kInFlight, lines.size() - first);
    for (size_t i = 0; i < count; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~Pipeline() {
    {
      MutexLock lock(&mutex_);
      stop_ = true;
    }
    changed_.NotifyAll();
    for (std::thread& thread : threads_) thread.join();
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // The next line's translation, in the order of the input. Waits for it.
  absl::StatusOr<TextTranslation> Take() {
    MutexLock lock(&mutex_);
    while (done_.count(to_take_) == 0) changed_.Wait(&mutex_);
    auto node = done_.extract(to_take_++);
    changed_.NotifyAll();
    return std::move(node.mapped());
  }

 private:
  void Work() {
    while (true) {
      size_t line = 0;
      {
        MutexLock lock(&mutex_);
        // A line that takes long does not let the others run far ahead of the output.
        while (!stop_ && next_ < lines_.size() && next_ >= to_take_ + 4 * kInFlight) {
          changed_.Wait(&mutex_);
        }
        if (stop_ || next_ >= lines_.size()) return;
        line = next_++;
      }
      TextOptions options = options_;
      options.deadline = std::max(deadline_ - SteadyNow(), absl::ZeroDuration());
      absl::StatusOr<TextTranslation> translation = client_.Translate(lines_[line], options);
      MutexLock lock(&mutex_);
      if (!translation.ok()) stop_ = true;  // The lines before this one are still written.
      done_.emplace(line, std::move(translation));
      changed_.NotifyAll();
    }
  }

  Client& client_;
  const std::vector<std::string>& lines_;
  const TextOptions& options_;
  const SteadyTime deadline_ = SteadyNow() + options_.deadline;  // Of all lines.
  Mutex mutex_;
  CondVar changed_;
  size_t next_ ABSL_GUARDED_BY(mutex_);     // The next line to be translated.
  size_t to_take_ ABSL_GUARDED_BY(mutex_);  // The next line that Take() returns.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<size_t, absl::StatusOr<TextTranslation>> done_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

// Standard output or the output file, to which whole lines are appended.
class LineOutput {
 public:
  explicit LineOutput(const std::string& path) : path_(path) {}
  ~LineOutput() {
    if (fd_ >= 0) close(fd_);
  }
  LineOutput(const LineOutput&) = delete;
  LineOutput& operator=(const LineOutput&) = delete;

  // Opens the file and finds the part that is done. Changes nothing of it.
  absl::StatusOr<DonePart> Open(bool hypotheses, const std::string& input) {
    if (path_.empty()) return DonePart();
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) return Failed("opened", absl::StatusCode::kInvalidArgument);
    std::error_code error;
    if (std::filesystem::equivalent(path_, input, error)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, " is --file, too, which would be lost; give another --output"));
    }
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream there;
    there << file.rdbuf();
    absl::StatusOr<DonePart> done = FindDone(there.str(), hypotheses);
    if (!done.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": ", done.status().message(),
                                                     "; give another --output, or remove it"));
    }
    return done;
  }
  // Cuts the file to its first `bytes`.
  absl::Status Cut(size_t bytes) {
    if (fd_ < 0) return absl::OkStatus();
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0 || lseek(fd_, 0, SEEK_END) < 0) {
      return Failed("cut to its whole lines", absl::StatusCode::kInternal);
    }
    return absl::OkStatus();
  }
  absl::Status Write(absl::string_view text) {
    if (fd_ < 0) return WriteOutput(text);
    while (!text.empty()) {
      const ssize_t written = write(fd_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failed("written", absl::StatusCode::kInternal);
      text.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Failed(const char* what, absl::StatusCode code) const {
    return absl::Status(code,
                        absl::StrCat(path_, " cannot be ", what, ": ", std::strerror(errno)));
  }

  const std::string path_;
  int fd_ = -1;
};

// Draws the bar on standard error, if that is a terminal.
class Bar {
 public:
  Bar(size_t done, size_t total) : first_(done), total_(total) { Draw(done, true); }
  ~Bar() {
    if (terminal_) std::fputs("\n", stderr);
  }
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;

  void Draw(size_t done, bool now) {
    const SteadyTime time = SteadyNow();
    if (!terminal_ || (!now && time < next_)) return;
    next_ = time + kDrawInterval;
    winsize size = {};
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    absl::FPrintF(stderr, "\r%s",
                  ProgressBar({done, total_, done - first_, time - started_},
                              known ? size.ws_col - 1u : 79u));
    std::fflush(stderr);
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  const SteadyTime started_ = SteadyNow();
  const size_t first_;
  const size_t total_;
  SteadyTime next_;
};

}  // namespace

std::string FormatLine(size_t number, const TextTranslation& translation, bool hypotheses) {
  if (!hypotheses) return absl::StrCat(OneLine(translation.text), "\n");
  std::vector<Hypothesis> lines;
  if (translation.segments.size() == 1) lines = translation.segments[0];
  if (lines.empty()) lines.push_back({translation.text, std::nan("")});
  std::string text;
  for (const Hypothesis& line : lines) {
    absl::StrAppendFormat(&text, "%u\t%.6f\t%s\n", number, line.score, OneLine(line.text));
  }
  return text;
}

absl::StatusOr<DonePart> FindDone(absl::string_view output, bool hypotheses) {
  DonePart done;
  size_t last = 0;  // With hypotheses: the number of the last lines.
  for (size_t begin = 0, end; (end = output.find('\n', begin)) != absl::string_view::npos;
       begin = end + 1) {
    if (!hypotheses) {
      done = {end + 1, done.lines + 1};
      continue;
    }
    const absl::string_view line = output.substr(begin, end - begin);
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits('\t', 2));
    size_t number = 0;
    if (fields.size() != 3 || !absl::SimpleAtoi(fields[0], &number) ||
        (number != last && number != last + 1) || number == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("want lines of a number, a score and a text, in order and with tabs between "
                       "them, got another after number ",
                       last));
    }
    if (number != last) done = {begin, last};
    last = number;
  }
  return done;
}

std::string ProgressBar(const Progress& progress, size_t columns) {
  const double share = progress.total == 0 ? 1.0
                                           : static_cast<double>(progress.done) /
                                                 static_cast<double>(progress.total);
  const std::string before = absl::StrCat(progress.done, "/", progress.total, " lines [");
  std::string after = "]";
  const double seconds = absl::ToDoubleSeconds(progress.elapsed);
  if (progress.now > 0 && seconds > 0) {
    const double rate = static_cast<double>(progress.now) / seconds;
    const double left = static_cast<double>(progress.total - progress.done) / rate;
    absl::StrAppendFormat(&after, " %.1f lines/s, %s left", rate,
                          absl::FormatDuration(absl::Seconds(std::ceil(std::min(left, 1e7)))));
  }
  const size_t taken = before.size() + after.size();
  const size_t width = columns > taken ? columns - taken : 0;
  const auto full = static_cast<size_t>(share * static_cast<double>(width));
  const std::string bar =
      absl::StrCat(before, std::string(full, '#'), std::string(width - full, ' '), after);
  return bar.substr(0, columns);
}

absl::Status TranslateLines(
    Client& client, const std::vector<std::string>& lines, size_t first, const TextOptions& options,
    absl::FunctionRef<absl::Status(size_t, const TextTranslation&)> take) {
  Bar bar(first, lines.size());
  Pipeline pipeline(client, lines, first, options);
  for (size_t i = first; i < lines.size(); ++i) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const TextTranslation translation, pipeline.Take());
    LEAPSTREAM_RETURN_IF_ERROR(take(i, translation));
    bar.Draw(i + 1, i + 1 == lines.size());
  }
  return absl::OkStatus();
}

absl::Status TranslateFile(Client& client, const TranslateFileOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(options.input));
  LineOutput output(options.output);
  LEAPSTREAM_ASSIGN_OR_RETURN(const DonePart done, output.Open(options.hypotheses, options.input));
  if (done.lines > lines.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.output, " has ", done.lines, " lines, but ", options.input, " only ",
                     lines.size(), ", so it is no translation of it; give another --output"));
  }
  LEAPSTREAM_RETURN_IF_ERROR(output.Cut(done.bytes));
  return TranslateLines(client, lines, done.lines, options.text,
                        [&](size_t line, const TextTranslation& translation) {
                          return output.Write(
                              FormatLine(line + 1, translation, options.hypotheses));
                        });
}

}  // namespace leapstream::client
