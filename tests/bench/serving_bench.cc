// The cost of the scheduler and the RPC layer on top of the model. The server is in this process
// and its clients are in another one, so that this one's CPU time is the server's. Each client
// pushes a sentence word by word, a message each, as fast as the server takes it. For each model
// and compute type it prints CPU time in the model, of the whole process, and the rest; first with
// the sessions opened on the scheduler directly (no RPC), then over gRPC on loopback. Usage:
// serving_bench [SESSIONS [MODEL_DIR]]. Prints its conditions.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/standard_descriptors.h"
#include "client/client.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "server/server.h"
#include "streaming/scheduler.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/thread_time.h"
#include "tests/testing/collecting_sink.h"

namespace leapstream {
namespace {

constexpr int kSentences = 6;   // Number for each session.
constexpr int kMaxTarget = 30;  // Per sentence; random weights would never end one.

std::vector<std::vector<std::string>> Sentences() {
  std::ifstream in(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/en-de/traces.k3.stop.jsonl"));
  std::vector<std::vector<std::string>> sentences;
  for (std::string line; std::getline(in, line);) {
    const std::string source = nlohmann::json::parse(line)["source"];
    sentences.push_back(absl::StrSplit(source, ' ', absl::SkipEmpty()));
  }
  return sentences;
}

// Measures the time in the model, of the threads that call it.
class Timed : public Translator {
 public:
  explicit Timed(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    return model_->translator->NewState();
  }
  absl::Status Reserve(int states) const override { return model_->translator->Reserve(states); }
  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    const double start = ThreadSeconds() - seconds_;
    absl::Status status = model_->translator->Read(rows, between_layers);
    seconds_ = ThreadSeconds() - start;  // Calls between its layers count once.
    for (const SourceRows& each : rows) read_ += static_cast<int64_t>(each.tokens.size());
    return status;
  }
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    const double start = ThreadSeconds() - seconds_;
    absl::Status status = model_->translator->Decide(states, result, between_layers);
    seconds_ = ThreadSeconds() - start;  // Calls between its layers count once.
    written_ += static_cast<int64_t>(states.size());
    ++steps_;
    return status;
  }
  mutable double seconds_ = 0;  // Time of the one step thread.
  mutable int64_t read_ = 0, written_ = 0, steps_ = 0;

 private:
  const std::shared_ptr<const Model> model_;
};

double ProcessSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

// The clients, in a process of their own. It is forked first, before this process uses gRPC. A port
// comes in by the pipe, and a byte goes out when everything is translated.
class Clients {
 public:
  Clients(int sessions, std::vector<std::vector<std::string>> sentences) {
    if (pipe(in_) != 0 || pipe(out_) != 0) std::abort();
    pid_ = fork();
    if (pid_ != 0) return;
    close(in_[1]);  // Otherwise it would wait for itself once its parent is gone.
    close(out_[0]);
    int port = 0;
    while (read(in_[0], &port, sizeof(port)) == sizeof(port) && port != 0) {
      const char ok = Translate(port, sessions, sentences) ? 1 : 0;
      if (write(out_[1], &ok, 1) != 1) break;
    }
    _exit(0);
  }
  ~Clients() {
    const int none = 0;
    if (write(in_[1], &none, sizeof(none)) > 0) waitpid(pid_, nullptr, 0);
  }
  bool Run(int port) {
    char ok = 0;
    return write(in_[1], &port, sizeof(port)) > 0 && read(out_[0], &ok, 1) == 1 && ok == 1;
  }

 private:
  static bool Translate(int port, int sessions,
                        const std::vector<std::vector<std::string>>& sentences) {
    client::ClientOptions where;
    where.address = absl::StrCat("127.0.0.1:", port);
    auto client = client::Client::Connect(where);
    if (!client.ok()) return false;
    client::StreamOptions options;
    options.policy.rule = client::WaitK{3};
    options.max_target_tokens = kMaxTarget;
    std::vector<std::unique_ptr<client::Stream>> streams;
    for (int i = 0; i < sessions; ++i) streams.push_back((*client)->StartStream(options));
    for (int s = 0; s < kSentences; ++s) {
      for (int i = 0; i < sessions; ++i) {
        for (const std::string& word : sentences[(i * kSentences + s) % sentences.size()]) {
          streams[i]->PushText(word + " ").IgnoreError();
        }
        streams[i]->EndSegment().IgnoreError();
      }
    }
    bool ok = true;
    for (auto& stream : streams) stream->CloseSource().IgnoreError();
    for (auto& stream : streams) ok = stream->Wait().ok() && ok;
    return ok;
  }

  int in_[2], out_[2];
  pid_t pid_;
};

void Print(const char* type, const char* what, const Timed& timed, double process) {
  std::printf("%-9s %-10s %8.1f %9.0f %9.0f %9.0f %8.1f %%\n", type, what,
              static_cast<double>(timed.written_) / static_cast<double>(timed.steps_),
              1e6 * timed.seconds_ / static_cast<double>(timed.written_),
              1e6 * process / static_cast<double>(timed.written_),
              static_cast<double>(timed.written_) / process,
              100 * (process - timed.seconds_) / timed.seconds_);
  std::fflush(stdout);
}

// A model directory: the embedded model's dictionaries, and random weights of a usual size.
absl::StatusOr<std::string> BenchDirectory() {
  namespace fs = std::filesystem;
  const fs::path from = absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de");
  auto embedded = ReadModelDirectory(from);
  if (!embedded.ok()) return embedded.status();
  const fs::path folder = fs::temp_directory_path() / "leapstream-bench-model";
  fs::create_directories(folder);
  for (const char* file : {kSourceDictionaryFile, kTargetDictionaryFile, kSourceSentencePieceFile,
                           kTargetSentencePieceFile}) {
    fs::copy_file(from / file, folder / file, fs::copy_options::overwrite_existing);
  }
  const ModelConfig config = BenchConfig(embedded->encoder.vocabulary_size);
  if (absl::Status s = WriteRandomWeights(config, folder / kWeightsFile); !s.ok()) return s;
  if (absl::Status s = WriteModelJson(folder, config); !s.ok()) return s;
  return folder.string();
}

std::shared_ptr<Model> TimedModel(const std::string& directory, const char* type, Timed** timed) {
  LoadOptions options;
  options.compute_type = type;
  auto loaded = LoadModel(directory, options);
  if (!loaded.ok()) {
    std::fprintf(stderr, "serving_bench: %s\n", std::string(loaded.status().message()).c_str());
    std::exit(1);
  }
  auto model = std::make_shared<Model>();
  model->info = (*loaded)->info;
  model->source_vocabulary = (*loaded)->source_vocabulary;
  model->target_vocabulary = (*loaded)->target_vocabulary;
  model->source_tokenizer =
      *Tokenizer::Load(absl::StrCat(directory, "/", kSourceSentencePieceFile));
  model->target_tokenizer =
      *Tokenizer::Load(absl::StrCat(directory, "/", kTargetSentencePieceFile));
  auto wrapper = std::make_unique<Timed>(*loaded);
  *timed = wrapper.get();
  model->translator = std::move(wrapper);
  return model;
}

void OnScheduler(const std::string& directory, const char* type, int sessions,
                 const std::vector<std::vector<std::string>>& sentences) {
  Timed* timed = nullptr;
  const auto model = TimedModel(directory, type, &timed);
  if (!model->translator->Reserve(sessions).ok()) std::abort();
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = WaitK{3};
  options.max_target_tokens = kMaxTarget;
  const double start = ProcessSeconds();
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  std::vector<std::shared_ptr<Session>> opened;
  for (int i = 0; i < sessions; ++i) {
    sinks.push_back(std::make_unique<CollectingSink>());
    opened.push_back(*scheduler.Open(options, sinks.back().get()));
  }
  for (int s = 0; s < kSentences; ++s) {
    for (int i = 0; i < sessions; ++i) {
      for (const std::string& word : sentences[(i * kSentences + s) % sentences.size()]) {
        opened[i]->Push(word + " ");
      }
      opened[i]->EndSegment();
    }
  }
  for (const auto& session : opened) session->EndSource();
  for (const auto& sink : sinks) sink->Wait();
  Print(type, "scheduler", *timed, ProcessSeconds() - start);
}

void OverRpc(const std::string& directory, const char* type, Clients& clients) {
  Timed* timed = nullptr;
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  auto server = Server::Start(options, {TimedModel(directory, type, &timed)});
  if (!server.ok()) {
    std::fprintf(stderr, "serving_bench: %s\n", std::string(server.status().message()).c_str());
    std::exit(1);
  }
  const double start = ProcessSeconds();
  if (!clients.Run((*server)->port())) std::printf("a session failed\n");
  Print(type, "rpc", *timed, ProcessSeconds() - start);
}

int Main(int argc, char** argv) {
  const int sessions = argc > 1 ? std::atoi(argv[1]) : 32;
  const std::vector<std::vector<std::string>> sentences = Sentences();
  Clients clients(sessions, sentences);
  spdlog::set_level(spdlog::level::off);
  std::string directory = argc > 2 ? argv[2] : "";
  if (directory.empty()) {
    const auto made = BenchDirectory();
    if (!made.ok()) {
      std::fprintf(stderr, "serving_bench: %s\n", std::string(made.status().message()).c_str());
      return 1;
    }
    directory = *made;
  }
  std::printf("%d sessions of %d sentences, wait-3, a message per word; %s; kernels %s, %u cores\n",
              sessions, kSentences, directory.c_str(), Simd().name,
              std::thread::hardware_concurrency());
  std::printf("%-9s %-10s %8s %9s %9s %9s %10s\n", "type", "through", "a step", "model us",
              "process", "tokens/s", "on top");
  for (const char* type : {"float32", "int8"}) {
    OnScheduler(directory, type, sessions, sentences);
    OverRpc(directory, type, clients);
  }
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  return leapstream::OpenStandardDescriptors() ? leapstream::Main(argc, argv) : 1;
}
