#include "client/cli/pull_command.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/quoted.h"
#include "base/small_file.h"
#include "base/status.h"
#include "client/cli/find_program.h"
#include "client/hub/hub.h"
#include "client/hub/snapshot.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

namespace fs = std::filesystem;

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The variables that say which proxy is to be used.
std::map<std::string, std::string> ProxyVariables() {
  std::map<std::string, std::string> variables;
  for (const char* name :
       {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}) {
    const std::string value = Variable(name);
    if (!value.empty()) variables[name] = value;
  }
  return variables;
}

std::string DefaultCache() {
  const std::string cache = Variable("XDG_CACHE_HOME");
  if (!cache.empty()) return cache + "/leapstream/hub";
  const std::string home = Variable("HOME");
  return home.empty() ? "leapstream-hub" : home + "/.cache/leapstream/hub";
}

// A line on a terminal that is written over. Elsewhere it shows nothing.
class PullProgress {
 public:
  void Show(const SnapshotRequest::Progress& progress) {
    const SteadyTime now = SteadyNow();
    if (!shown_ || now - last_ < absl::Milliseconds(100)) return;
    if (last_ == SteadyTime::InfinitePast()) {
      start_ = now;
      first_ = progress.there;
    }
    last_ = now;
    const double seconds = absl::ToDoubleSeconds(now - start_);
    const double rate = seconds > 0 ? static_cast<double>(progress.there - first_) / seconds : 0;
    const int64_t total = std::max<int64_t>(progress.total, 1);
    const auto filled =
        static_cast<size_t>(std::min<int64_t>(30, 30 * std::min(progress.there, total) / total));
    absl::FPrintF(stderr, "\r[%s%s] %d/%d MB, %.1f MB/s, %s\x1B[K", std::string(filled, '#'),
                  std::string(30 - filled, '.'), progress.there >> 20, progress.total >> 20,
                  rate / (1 << 20), progress.file);
  }
  ~PullProgress() {
    if (shown_) absl::FPrintF(stderr, "\r\x1B[K");
  }

 private:
  const bool shown_ = isatty(STDERR_FILENO) == 1;
  SteadyTime start_, last_ = SteadyTime::InfinitePast();
  int64_t first_ = 0;
};

// Runs a program with its output on standard error, and waits for it.
absl::Status RunProgram(const std::string& name, const std::vector<std::string>& arguments) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::string program, FindProgram(name));
  std::vector<std::string> all = arguments;
  std::vector<char*> argv = {program.data()};
  for (std::string& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return absl::InternalError(absl::StrCat("cannot fork: ", std::strerror(errno)));
  if (pid == 0) {  // Only async-signal-safe calls from here on.
    dup2(STDERR_FILENO, STDOUT_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(name, " ", absl::StrJoin(arguments, " "),
                                                    " failed, and says above why; the files stay"));
}

// The flags with which the files of fairseq are exported.
absl::StatusOr<std::vector<std::string>> FairseqFlags(const Snapshot& snapshot, std::string source,
                                                      std::string target) {
  std::vector<std::string> checkpoints, languages, pieces;
  for (const std::string& file : snapshot.files) {
    absl::string_view name = file;
    if (absl::EndsWith(name, ".pt")) checkpoints.push_back(file);
    if (absl::EndsWith(name, ".spm") || absl::EndsWith(name, ".model")) pieces.push_back(file);
    if (absl::ConsumePrefix(&name, "dict.") && absl::ConsumeSuffix(&name, ".txt")) {
      languages.emplace_back(name);
    }
  }
  const auto has = [&](const std::string& language) {
    return absl::c_linear_search(languages, language);
  };
  if (checkpoints.size() != 1 || pieces.size() != 1 || !has(source) || !has(target)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "want one checkpoint (*.pt), one SentencePiece model, and the dictionaries of "
        "--source-lang and --target-lang, got ",
        checkpoints.size(), " and ", pieces.size(), " and dictionaries of ",
        languages.empty() ? "no language" : absl::StrJoin(languages, ", "), " in ", snapshot.folder,
        "; export them with leapstream-export as docs/models.md says"));
  }
  const auto path = [&](const std::string& file) {
    return (fs::path(snapshot.folder) / file).string();
  };
  return std::vector<std::string>{"--checkpoint",  path(checkpoints[0]),
                                  "--source-dict", path(absl::StrCat("dict.", source, ".txt")),
                                  "--target-dict", path(absl::StrCat("dict.", target, ".txt")),
                                  "--source-spm",  path(pieces[0]),
                                  "--target-spm",  path(pieces[0])};
}

// Whether sessions of the model must say their languages.
bool NeedsLanguages(const std::string& model) {
  const auto text = ReadSmallFile((fs::path(model) / "model.json").string());
  if (!text.ok()) return false;
  const auto json = nlohmann::json::parse(*text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("languages") &&
         json.value("source_language", std::string()).empty();
}

}  // namespace

void PullCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ = app.add_subcommand(
      "pull",
      "Fetch a model from a hub such as huggingface.co, and export it for leapstream-server.\n"
      "What breaks off goes on where it ended; what was fetched is kept, and used again.");
  command_->footer(footer);
  command_->add_option("repository", repo_, "such as Helsinki-NLP/opus-mt-en-de, or with @REVISION")
      ->required()
      ->type_name("REPO[@REV]");
  command_->add_option("--output", output_, "of the model; default: models/NAME")->type_name("DIR");
  command_->add_option("--name", name_, "of the model for clients; default: the repository's");
  command_->add_option("--source-lang", source_language_,
                       "of sessions that ask for none, such as en or eng_Latn");
  command_->add_option("--target-lang", target_language_, "such as de or deu_Latn");
  command_->add_option("--endpoint", endpoint_, "the hub; default: https://huggingface.co")
      ->envname("HF_ENDPOINT")
      ->type_name("URL");
  command_
      ->add_option("--token-file", token_file_,
                   "a file with a token of the hub, for models that "
                   "need one")
      ->type_name("FILE");
  command_
      ->add_option("--ca-file", ca_file_,
                   "PEM of the authorities that sign the hub's "
                   "certificate; default: the system's")
      ->type_name("FILE");
  command_
      ->add_option("--cache", cache_,
                   "what was fetched; default: leapstream/hub in "
                   "XDG_CACHE_HOME or ~/.cache")
      ->type_name("DIR");
  command_->add_flag("--offline", offline_, "use what is in the cache, and ask nobody");
  command_->add_flag("--no-export", no_export_, "only fetch");
  command_
      ->add_option("--export-flag", export_flags_,
                   "a further flag of leapstream-export, such as --dtype=float16; may be repeated")
      ->type_name("FLAG")
      ->take_all();
}

std::optional<absl::Status> PullCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return Pull();
}

absl::Status PullCommand::Pull() {
  SnapshotRequest request;
  LEAPSTREAM_ASSIGN_OR_RETURN(request, ParseRepo(repo_));
  request.cache = cache_.empty() ? DefaultCache() : cache_;
  request.offline = offline_;
  const std::string short_name = request.repo.substr(request.repo.rfind('/') + 1);
  const std::string output = output_.empty() ? "models/" + short_name : output_;
  std::error_code error;
  if (!no_export_ && fs::exists(output, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat(output, " is there already; remove it, or name another place with --output"));
  }
  HubOptions options;
  if (!endpoint_.empty()) options.endpoint = endpoint_;
  options.ca_file = ca_file_;
  options.environment = ProxyVariables();
  if (!token_file_.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::string token, ReadSmallFile(token_file_));
    options.token = std::string(absl::StripAsciiWhitespace(token));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(Hub hub, Hub::Create(std::move(options)));
  Snapshot snapshot;
  {
    PullProgress progress;
    request.on_progress = [&](const SnapshotRequest::Progress& now) { progress.Show(now); };
    LEAPSTREAM_ASSIGN_OR_RETURN(snapshot, FetchSnapshot(request, &hub));
  }
  absl::PrintF("%s at %s: %d files, %d MB in %s\n", request.repo, snapshot.commit,
               snapshot.files.size(), snapshot.bytes >> 20, snapshot.folder);
  absl::PrintF("licence: %s\n", snapshot.license.empty() ? "not said; see README.md there"
                                                         : OneLine(snapshot.license));
  if (no_export_) return absl::OkStatus();
  std::vector<std::string> flags = {"--hugging-face", snapshot.folder};
  if (!absl::c_linear_search(snapshot.files, "config.json")) {
    LEAPSTREAM_ASSIGN_OR_RETURN(flags, FairseqFlags(snapshot, source_language_, target_language_));
  }
  for (const auto& [flag, value] : {std::pair<const char*, std::string>{"--output", output},
                                    {"--name", name_.empty() ? short_name : name_},
                                    {"--source-lang", source_language_},
                                    {"--target-lang", target_language_}}) {
    if (value.empty()) continue;
    flags.insert(flags.end(), {flag, value});
  }
  flags.insert(flags.end(), export_flags_.begin(), export_flags_.end());
  if (const fs::path parent = fs::path(output).parent_path(); !parent.empty()) {
    fs::create_directories(parent, error);
  }
  LEAPSTREAM_RETURN_IF_ERROR(RunProgram("leapstream-export", flags));
  absl::PrintF(
      "model: %s\nNext:\n  leapstream-server --model %s\n"
      "  echo \"Hello, world.\" | leapstream translate%s\n",
      output, output, NeedsLanguages(output) ? " --source-lang en --target-lang de" : "");
  return absl::OkStatus();
}

}  // namespace leapstream::client
