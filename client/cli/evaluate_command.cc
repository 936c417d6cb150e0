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
#include <iterator>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/cli/evaluation_report.h"
#include "client/cli/exit_status.h"
#include "client/cli/local_server.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/cli/terminal.h"
#include "client/evaluation/evaluate.h"
#include "client/evaluation/instance.h"
#include "client/evaluation/piece_counter.h"
#include "client/evaluation/png.h"
#include "metrics/chrf.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownLines = 20;  // Most lines that a warning lists.
constexpr char kClearLine[] = "\r\x1B[K";

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

// A line on a terminal that is written over. Elsewhere it shows nothing.
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
    absl::FPrintF(stderr, "\r%s\x1B[K",
                  ProgressText(name_, done, total_, left, TerminalColumns(STDERR_FILENO)));
  }

 private:
  const bool shown_;
  const std::string name_;
  const int total_;
  const SteadyTime start_ = SteadyNow();
  SteadyTime last_ = SteadyTime::InfinitePast();
};

// Warns of instances whose translations count in the scores although something is wrong with them,
// such as a cut. `policy` may be empty. `is` selects the instances; `what` and `why` describe them.
void WarnOf(const std::vector<Instance>& instances, const std::string& policy,
            bool (*is)(const Instance&), absl::string_view what, absl::string_view why) {
  std::vector<int> lines;
  for (const Instance& instance : instances) {
    if (is(instance)) lines.push_back(instance.index + 1);
  }
  if (lines.empty()) return;
  const size_t count = lines.size();
  lines.resize(std::min(count, kShownLines));
  absl::FPrintF(stderr, "leapstream: %s%s %s, and so scored: line %s%s\n",
                policy.empty() ? "" : policy + ": ",
                Counted(static_cast<int64_t>(count), what), why, absl::StrJoin(lines, ", "),
                count > kShownLines ? ", ..." : "");
}

void WarnOfCutTranslations(const std::vector<Instance>& instances, const std::string& policy) {
  WarnOf(instances, policy, [](const Instance& i) { return i.prediction_cut; }, "translation",
         "cut at the limit of length");
  WarnOf(instances, policy,
         [](const Instance& i) { return i.speech && i.words.source_length == 0; }, "recording",
         "without a sample");
}

// Held while files are written, since a signal is not to interrupt that.
Mutex& Writing() {
  static auto* const mutex = new Mutex();
  return *mutex;
}

// From now on SIGINT and SIGTERM end the process with the exit status of a cancelled run. Call it
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
    _exit(kExitCancelled);  // Our own server dies with this process.
  }).detach();
}

// The sentences and references, and how they are scored.
struct TestSet {
  std::vector<std::string> sources, references;
  TargetScoring scoring;  // Both members are set.
};

// SimulEval's file of options, which `simuleval --score-only --output FOLDER` reads.
std::string ConfigYaml(const EvaluateCommandOptions& options, const TargetScoring& scoring) {
  std::string yaml =
      absl::StrCat("source_type: ", options.speech ? "speech" : "text", "\ntarget_type: text\n");
  if (scoring.unit != LatencyUnit::kWord) {
    absl::StrAppend(&yaml, "eval_latency_unit: ", LatencyUnitName(*scoring.unit), "\n");
  }
  if (scoring.tokenizer != metrics::BleuTokenizer::k13a) {
    absl::StrAppend(&yaml, "sacrebleu_tokenizer: ", metrics::BleuTokenizerName(*scoring.tokenizer),
                    "\n");
  }
  return yaml;
}

absl::Status WriteLog(const fs::path& folder, const std::vector<Instance>& instances,
                      const std::string& config) {
  LEAPSTREAM_RETURN_IF_ERROR(MakeFolder(folder));
  std::string log;
  for (const Instance& instance : instances) absl::StrAppend(&log, ToSimulEvalLog(instance), "\n");
  LEAPSTREAM_RETURN_IF_ERROR(WriteFile(folder / "instances.log", log));
  return WriteFile(folder / "config.yaml", config);
}

// LAAL and its like with `suffix`, without the columns that were not chosen.
std::string LaggingLine(const Scores& scores, const std::vector<std::string>& metrics,
                        absl::string_view suffix) {
  const std::vector<std::string> names = ScoreNames(metrics), values = ScoreValues(scores, metrics);
  std::string line;
  for (const char* name : {"LAAL", "AL", "AP", "DAL", "ATD"}) {
    const auto column = std::find(names.begin(), names.end(), absl::StrCat(name, suffix));
    if (column == names.end()) continue;
    absl::StrAppend(&line, line.empty() ? " " : "  ", name, " ", values[column - names.begin()]);
  }
  return line;
}

void Print(const PolicyScores& row, const EvaluateCommandOptions& options,
           const TargetScoring& scoring) {
  const Scores& scores = row.scores;
  const std::vector<std::string>& metrics = options.metrics;
  const auto wanted = [&](const char* name) {
    return metrics.empty() || std::find(metrics.begin(), metrics.end(), name) != metrics.end();
  };
  if (wanted("BLEU")) absl::PrintF("%s\n", scores.bleu.ToString());
  if (wanted("chrF")) absl::PrintF("%s\n", metrics::ChrfToString(scores.chrf));
  const auto print = [](const std::string& unit, const std::string& lagging) {
    if (!lagging.empty()) absl::PrintF("%s%s\n", unit, lagging);
  };
  std::string unit = options.speech ? "in ms, per word: " : "in source words: ";
  if (scoring.unit != LatencyUnit::kWord) {
    unit = absl::StrCat(options.speech ? "in ms" : "in source words", ", per ",
                        scoring.unit == LatencyUnit::kChar ? "character" : "target piece", ":");
  }
  print(unit, LaggingLine(scores, metrics, ""));
  print(options.speech ? "in ms, per piece:" : "in source pieces:",
        LaggingLine(scores, metrics, "_pieces"));
}

absl::Status WriteScores(const std::vector<PolicyScores>& rows,
                         const EvaluateCommandOptions& options, size_t sentences) {
  const fs::path folder = options.output_folder;
  absl::Status status =
      WriteFile(folder / "scores.tsv", ScoresTsv(rows, sentences, options.metrics));
  const std::string curve = ScoresPicture(
      rows, fs::path(options.source_file).filename().string(), options.speech);
  status.Update(WriteFile(folder / "curve.svg", curve));
  const absl::StatusOr<std::string> png = SvgToPng(curve);
  status.Update(png.ok() ? WriteFile(folder / "curve.png", *png) : png.status());
  return status;
}

// Translates the test set with one policy.
absl::StatusOr<std::vector<Instance>> TranslateWith(const Policy& policy, Client& client,
                                                    PieceCounter& pieces,
                                                    const EvaluateCommandOptions& options,
                                                    const TestSet& test_set) {
  EvaluationOptions evaluation;
  evaluation.stream = options.stream;
  evaluation.stream.policy = policy;
  evaluation.sessions = options.sessions;
  evaluation.first_index = options.start_index;
  evaluation.unit = *test_set.scoring.unit;
  evaluation.words_per_second = options.words_per_second;
  evaluation.joined_vocabulary = options.joined_vocabulary;
  ProgressLine progress(ToText(policy), test_set.sources.size());
  evaluation.on_progress = [&](int done) { progress.Show(done); };
  return options.speech
             ? EvaluateSpeech(client, test_set.sources, test_set.references, evaluation)
             : Evaluate(client, pieces, test_set.sources, test_set.references, evaluation);
}

// How often a term stands in a text as words of its own.
int CountTerm(absl::string_view text, absl::string_view term) {
  const auto is_of_word = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           static_cast<unsigned char>(c) >= 0x80;
  };
  int count = 0;
  for (size_t at = text.find(term); at != absl::string_view::npos; at = text.find(term, at + 1)) {
    const size_t end = at + term.size();
    const bool begins = at == 0 || !is_of_word(text[at - 1]) || !is_of_word(term.front());
    const bool ends = end == text.size() || !is_of_word(text[end]) || !is_of_word(term.back());
    if (begins && ends) ++count;
  }
  return count;
}

// Says how many of the terms in the sources stand in the translations. `sources` are as the
// instances are. Terms without capitals are counted in any case.
std::string TermsLine(const std::vector<std::string>& sources,
                      const std::vector<Instance>& instances, const std::vector<Term>& terms) {
  int there = 0, kept = 0;
  for (const Term& term : terms) {
    const std::string& target = term.target.empty() ? term.source : term.target;
    const bool any_case = absl::AsciiStrToLower(term.source) == term.source;
    for (size_t i = 0; i < instances.size(); ++i) {
      const int count =
          CountTerm(any_case ? absl::AsciiStrToLower(sources[i]) : sources[i], term.source);
      there += count;
      kept += std::min(count, CountTerm(instances[i].prediction, target));
    }
  }
  return absl::StrCat("terms: ", kept, " of ", there, " stand in the translations\n");
}

absl::Status Run(Client& client, const EvaluateCommandOptions& options, const TestSet& test_set) {
  const bool several = options.policies.size() > 1;
  PieceCounter pieces(&client, options.stream);
  const std::string config = ConfigYaml(options, test_set.scoring);
  std::vector<PolicyScores> rows;
  absl::Status status;
  for (const Policy& policy : options.policies) {
    // A single run needs no name unless its policy was asked for.
    const std::string text = ToText(policy), name = several || text != "default" ? text : "";
    const SteadyTime start = SteadyNow();
    const absl::StatusOr<std::vector<Instance>> instances =
        TranslateWith(policy, client, pieces, options, test_set);
    if (!instances.ok()) {
      status.Update(instances.status());
      break;
    }
    const double seconds = absl::ToDoubleSeconds(SteadyNow() - start);
    WarnOfCutTranslations(*instances, name);

    MutexLock lock(&Writing());
    fs::path folder = options.output_folder;
    if (several) folder /= FolderName(policy);
    status.Update(WriteLog(folder, *instances, config));
    if (!name.empty()) absl::PrintF("%s\n", name);
    if (options.scores) {
      rows.push_back({policy, Score(*instances, *test_set.scoring.tokenizer), seconds});
      Print(rows.back(), options, test_set.scoring);
    }
    if (const std::vector<Term>& terms = options.stream.glossary; !terms.empty()) {
      absl::PrintF("%s", TermsLine(test_set.sources, *instances, terms));
    }
    absl::PrintF("%s in %.1f s\n",
                 Counted(static_cast<int64_t>(test_set.sources.size()), "sentence"), seconds);
    (void)FlushOutput();  // The call at the end returns the same error; results are written first.
  }
  MutexLock lock(&Writing());
  if (!rows.empty()) status.Update(WriteScores(rows, options, test_set.sources.size()));
  if (rows.size() > 1) absl::PrintF("\n%s", ScoresTable(rows, options.metrics));
  status.Update(FlushOutput());
  if (status.ok() && isatty(STDERR_FILENO) == 1) {
    absl::FPrintF(stderr, "leapstream: written to %s\n", options.output_folder);
  }
  return status;
}

// Reads the lines of both files that are to be evaluated.
absl::StatusOr<TestSet> ReadTestSet(const EvaluateCommandOptions& options) {
  TestSet result;
  LEAPSTREAM_ASSIGN_OR_RETURN(result.sources, ReadLines(options.source_file));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.references, ReadLines(options.target_file));
  const size_t size = result.sources.size();
  if (size == 0 || size != result.references.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want as many lines in both files, and one at least; got ", size, " in ",
        options.source_file, " and ", result.references.size(), " in ", options.target_file));
  }
  const auto start = static_cast<size_t>(options.start_index);
  const size_t end = options.end_index < 0 ? size : static_cast<size_t>(options.end_index);
  if (start >= end || end > size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want a --start-index below the --end-index, which is ", size, " at most, got ", start,
        " and ", options.end_index, "; ", options.source_file, " has lines 0 to ", size - 1));
  }
  for (std::vector<std::string>* lines : {&result.sources, &result.references}) {
    lines->resize(end);
    lines->erase(lines->begin(), lines->begin() + options.start_index);
  }
  result.scoring = ChooseScoring(options.scoring, result.references);
  return result;
}

// Says what the scores are of, where that is not plain.
void NoteScoring(const EvaluateCommandOptions& options, const TestSet& test_set) {
  const auto note = [](absl::string_view text) {
    absl::FPrintF(stderr, "leapstream: %s\n", text);
  };
  const std::string scoring =
      ScoringNote(options.scoring, test_set.scoring, test_set.references);
  if (!scoring.empty()) note(scoring);
  if (!options.speech && (metrics::AreWrittenWithoutSpaces(test_set.sources) ||
                          metrics::HaveAlmostNoSpaces(test_set.sources))) {
    note(
        "the sources have almost no spaces, and a source word is all between two: lagging in "
        "source words says little; the columns _pieces do not count words");
  }
  if (test_set.scoring.unit == LatencyUnit::kSpm && !options.joined_vocabulary) {
    note(
        "the references' pieces are not known without --joined-vocabulary: lagging per piece is "
        "measured against the translations' own length");
  }
}

}  // namespace

absl::Status EvaluateCommand(const EvaluateCommandOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const TestSet test_set, ReadTestSet(options));
  LEAPSTREAM_RETURN_IF_ERROR(MakeEmptyFolder(options.output_folder));
  EndWhenSignalled();
  ClientOptions connection = options.connection;
  std::unique_ptr<LocalServer> server;
  if (!options.model_folder.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(server, LocalServer::Start(options.model_folder));
    connection.address = server->address();
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Connect(connection));
  NoteScoring(options, test_set);
  return Run(*client, options, test_set);
}

}  // namespace leapstream::client
