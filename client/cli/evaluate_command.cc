#include "client/cli/evaluate_command.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/cli/local_server.h"
#include "client/cli/read_lines.h"
#include "client/evaluation/evaluate.h"
#include "client/evaluation/instance.h"
#include "client/evaluation/piece_counter.h"
#include "client/evaluation/png.h"
#include "client/evaluation/svg.h"
#include "metrics/chrf.h"

namespace leapstream::client {
namespace {

namespace fs = std::filesystem;

constexpr int kExitCancelled = 5;   // As --help says.
constexpr size_t kShownLines = 20;  // Of cut translations.
constexpr char kClearLine[] = "\r\x1B[K";

absl::Status WriteFile(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return absl::InvalidArgumentError(absl::StrCat("cannot write ", path.string()));
  return absl::OkStatus();
}

absl::Status MakeFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot make the folder ", path.string(), ": ", error.message()));
  }
  return absl::OkStatus();
}

// Results of another run must not be taken for this one's.
absl::Status MakeEmptyFolder(const fs::path& path) {
  LEAPSTREAM_RETURN_IF_ERROR(MakeFolder(path));
  std::error_code error;
  const fs::directory_iterator first(path, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the folder ", path.string(), ": ", error.message()));
  }
  if (first != fs::directory_iterator()) {
    return absl::InvalidArgumentError(
        absl::StrCat("want a new or an empty folder for --output, got ", path.string(), " with ",
                     first->path().filename().string(), " in it; empty it, or name another"));
  }
  if (access(path.c_str(), W_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write to the folder ", path.string(), ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

std::string PolicyName(std::optional<int> k) { return k.has_value() ? absl::StrCat("k=", *k) : ""; }

// A line on a terminal that is written over; nothing elsewhere.
class ProgressLine {
 public:
  ProgressLine(std::string name, size_t total)
      : shown_(isatty(STDERR_FILENO) == 1),
        name_(std::move(name)),
        total_(static_cast<int>(total)) {}
  ~ProgressLine() {
    if (shown_) absl::FPrintF(stderr, kClearLine);
  }

  void Show(int done) {
    const SteadyTime now = SteadyNow();
    if (!shown_ || (now - last_ < absl::Milliseconds(100) && done < total_)) return;
    last_ = now;
    const double left = absl::ToDoubleSeconds(now - start_) / done * (total_ - done);
    const int filled = 30 * done / total_;
    absl::FPrintF(stderr, "\r%s [%s%s] %d/%d sentences, %.0f s left\x1B[K", name_,
                  std::string(filled, '#'), std::string(30 - filled, '.'), done, total_, left);
  }

 private:
  const bool shown_;
  const std::string name_;
  const int total_;
  const SteadyTime start_ = SteadyNow();
  SteadyTime last_ = SteadyTime::InfinitePast();
};

// What was cut counts in the scores as it came, so the reader must know. `policy` may be empty.
void WarnOfCutTranslations(const std::vector<Instance>& instances, const std::string& policy) {
  std::vector<int> lines;
  for (const Instance& instance : instances) {
    if (instance.prediction_cut) lines.push_back(instance.index + 1);
  }
  if (lines.empty()) return;
  const size_t cut = lines.size();
  lines.resize(std::min(cut, kShownLines));
  absl::FPrintF(stderr, "leapstream: %s%s cut at the limit of length, and so scored: line %s%s\n",
                policy.empty() ? "" : policy + ": ",
                Counted(static_cast<int64_t>(cut), "translation"), absl::StrJoin(lines, ", "),
                cut > kShownLines ? ", ..." : "");
}

// Held while files are written, which a signal is not to interrupt.
Mutex& Writing() {
  static auto* const mutex = new Mutex();
  return *mutex;
}

// From now on SIGINT and SIGTERM end the process with the status of what is cancelled. Call it
// before there are other threads: they must inherit that signals are blocked.
void EndWhenSignalled() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    MutexLock lock(&Writing());
    absl::FPrintF(stderr, "%sleapstream: cancelled\n",
                  isatty(STDERR_FILENO) == 1 ? kClearLine : "");
    _exit(kExitCancelled);  // A server of ours dies with this process.
  }).detach();
}

struct Row {
  std::optional<int> k;
  Scores scores;
  double seconds = 0;
};

std::string ScoresTsv(const std::vector<Row>& rows, size_t sentences) {
  std::string tsv =
      absl::StrCat("k\t", absl::StrJoin(ScoreNames(), "\t"), "\tsentences\tseconds\n");
  for (const Row& row : rows) {
    absl::StrAppend(&tsv, row.k.has_value() ? absl::StrCat(*row.k) : "default", "\t",
                    absl::StrJoin(ScoreValues(row.scores), "\t"), "\t", sentences, "\t",
                    absl::StrFormat("%.2f", row.seconds), "\n");
  }
  return tsv;
}

std::string QualityLatencyCurve(const std::vector<Row>& rows,
                                const EvaluateCommandOptions& options) {
  Curve al{"AL", {}}, laal{"LAAL", {}};
  for (const Row& row : rows) {
    al.points.push_back({row.scores.words.al, row.scores.bleu.score, PolicyName(row.k)});
    // Beside the other one, at the same height: it needs no label.
    laal.points.push_back({row.scores.words.laal, row.scores.bleu.score, ""});
  }
  return ChartSvg(
      absl::StrCat("Quality over lagging: ", fs::path(options.source_file).filename().string()),
      options.speech ? "lagging (ms)" : "lagging (source words)", "BLEU", {al, laal});
}

absl::Status Run(Client& client, const EvaluateCommandOptions& options,
                 const std::vector<std::string>& sources,
                 const std::vector<std::string>& references) {
  std::vector<std::optional<int>> ks(options.ks.begin(), options.ks.end());
  if (ks.empty()) ks.emplace_back();
  PieceCounter pieces(&client, options.stream);
  std::vector<Row> rows;
  for (const std::optional<int> k : ks) {
    EvaluationOptions evaluation;
    evaluation.stream = options.stream;
    evaluation.stream.k = k;
    evaluation.sessions = options.sessions;
    evaluation.words_per_second = options.words_per_second;
    evaluation.joined_vocabulary = options.joined_vocabulary;
    const SteadyTime start = SteadyNow();
    std::vector<Instance> instances;
    {
      ProgressLine progress(PolicyName(k), sources.size());
      evaluation.on_progress = [&](int done) { progress.Show(done); };
      LEAPSTREAM_ASSIGN_OR_RETURN(
          instances, options.speech ? EvaluateSpeech(client, sources, references, evaluation)
                                    : Evaluate(client, pieces, sources, references, evaluation));
    }
    rows.push_back({k, Score(instances), absl::ToDoubleSeconds(SteadyNow() - start)});

    WarnOfCutTranslations(instances, PolicyName(k));

    MutexLock lock(&Writing());
    fs::path folder = options.output_folder;
    if (ks.size() > 1) folder /= absl::StrCat("k", *k);
    LEAPSTREAM_RETURN_IF_ERROR(MakeFolder(folder));
    std::string log;
    for (const Instance& instance : instances)
      absl::StrAppend(&log, ToSimulEvalLog(instance), "\n");
    LEAPSTREAM_RETURN_IF_ERROR(WriteFile(folder / "instances.log", log));
    // What `simuleval --score-only --output FOLDER` reads first.
    LEAPSTREAM_RETURN_IF_ERROR(WriteFile(
        folder / "config.yaml", absl::StrCat("source_type: ", options.speech ? "speech" : "text",
                                             "\ntarget_type: text\n")));

    const Scores& scores = rows.back().scores;
    if (k.has_value()) absl::PrintF("k = %d\n", *k);
    absl::PrintF("%s\n%s\n", scores.bleu.ToString(), metrics::ChrfToString(scores.chrf));
    const auto print = [](const char* unit, const metrics::Lagging& lagging) {
      absl::PrintF("%s LAAL %.3f  AL %.3f  AP %.3f  DAL %.3f  ATD %.3f\n", unit, lagging.laal,
                   lagging.al, lagging.ap, lagging.dal, lagging.atd);
    };
    print(options.speech ? "in ms, per word: " : "in source words: ", scores.words);
    print(options.speech ? "in ms, per piece:" : "in source pieces:", scores.pieces);
    absl::PrintF("%s in %.1f s\n", Counted(static_cast<int64_t>(sources.size()), "sentence"),
                 rows.back().seconds);
    std::fflush(stdout);
  }
  MutexLock lock(&Writing());
  const fs::path folder = options.output_folder;
  LEAPSTREAM_RETURN_IF_ERROR(WriteFile(folder / "scores.tsv", ScoresTsv(rows, sources.size())));
  const std::string curve = QualityLatencyCurve(rows, options);
  LEAPSTREAM_RETURN_IF_ERROR(WriteFile(folder / "curve.svg", curve));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string png, SvgToPng(curve));
  return WriteFile(folder / "curve.png", png);
}

}  // namespace

absl::Status EvaluateCommand(const EvaluateCommandOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> sources,
                              ReadLines(options.source_file));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> references,
                              ReadLines(options.target_file));
  if (sources.empty() || sources.size() != references.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want as many lines in both files, and one at least; got ", sources.size(), " in ",
        options.source_file, " and ", references.size(), " in ", options.target_file));
  }
  LEAPSTREAM_RETURN_IF_ERROR(MakeEmptyFolder(options.output_folder));
  EndWhenSignalled();
  ClientOptions connection = options.connection;
  std::unique_ptr<LocalServer> server;
  if (!options.model_folder.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(server, LocalServer::Start(options.model_folder));
    connection.address = server->address();
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection));
  return Run(*client, options, sources, references);
}

}  // namespace leapstream::client
