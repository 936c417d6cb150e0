// The step of a model: one READ and one WRITE of each of B sessions that have P positions behind
// them, on one thread, in its CPU time. Beside it stands the least time that the machine needs: to
// read the weights once or multiply them at peak, whichever takes longer, plus to read the states
// once, at ceilings that are measured first. of_plain_loops is the same with the time that a plain
// loop needs for the states, which every other step writes, too. float16_states/... has the states
// in float16. libtorch/... is the same step in LibTorch's operations. Usage: step_bench [--weights
// FILE | --model DIR] [Google Benchmark's flags]. Without --model the model has a usual size and
// random weights, which are written to FILE; see bench_model.h. Or: step_bench --shape
// base|big|600M|1.3B [--compute-type TYPE] [--model DIR], which prints what a model of a size that
// people have costs; see shape_bench.h. DIR gets the model, and 1.9 to 5 GB are needed there. Or:
// step_bench --threads, which prints what a second thread brings, as one more that shares each turn
// (intra_op_threads) and as one with turns of its own (replicas), and what it brings to plain loops.
// Or: step_bench --operations, which lists LibTorch's operations in a step of 32 sessions.
#include <benchmark/benchmark.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/standard_descriptors.h"
#include "base/status.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/load_model.h"
#include "model/engine/parallel.h"
#include "model/engine/transformer.h"
#include "model/torch/make_torch_translator.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/ceilings.h"
#include "tests/bench/shape_bench.h"
#include "tests/bench/thread_time.h"
#include "tests/bench/torch_operations.h"

namespace leapstream {
namespace {

constexpr char kHalfStates[] = " and float16 states";

double BytesPerWeight(ComputeType type) {
  return type == ComputeType::kFloat32 ? 4 : type == ComputeType::kBfloat16 ? 2 : 1;
}

// Sessions side by side, which advance position by position.
class Sessions {
 public:
  Sessions(const Translator& translator, int count) : translator_(translator), decisions_(count) {
    for (int i = 0; i < count; ++i) {
      states_.push_back(*translator.NewState());
      pointers_.push_back(states_.back().get());
      rows_.push_back({pointers_.back(), absl::MakeConstSpan(&kToken, 1)});
    }
  }
  int position() const { return position_; }
  double state_bytes() const { return static_cast<double>(states_.front()->bytes()); }

  absl::Status Step() {
    absl::Status status = translator_.Read(rows_);
    if (status.ok()) status = translator_.Decide(pointers_, absl::MakeSpan(decisions_));
    for (SessionState* state : pointers_) state->Commit(kToken);
    ++position_;
    return status;
  }

 private:
  static constexpr TokenId kToken = 100;
  const Translator& translator_;
  std::vector<std::unique_ptr<SessionState>> states_;
  std::vector<SessionState*> pointers_;
  std::vector<SourceRows> rows_;
  std::vector<Decision> decisions_;
  int position_ = 0;
};

// Has one translator at a time, and the sessions of the latest batch size, which later positions
// use.
class Bench {
 public:
  Bench(std::string weights, std::string directory, const std::string& attention = "leap")
      : weights_(std::move(weights)), directory_(std::move(directory)), config_(BenchConfig(6000)) {
    for (SideConfig* side : {&config_.encoder, &config_.decoder}) {
      side->self_attention = side->cross_attention = attention;
    }
  }

  absl::Status Prepare() {
    if (!directory_.empty()) {
      auto config = ReadModelDirectory(directory_);
      if (!config.ok()) return config.status();
      config_ = *std::move(config);
      weights_ = absl::StrCat(directory_, "/", kWeightsFile);
    } else if (absl::Status written = WriteRandomWeights(config_, weights_); !written.ok()) {
      return written;
    }
    for (const TensorSpec& spec : ListTensors(config_)) {
      int64_t count = 1;
      for (const int64_t size : spec.shape) count *= size;
      parameters_ += count;
      if (spec.shape.size() == 2) multiplied_ += count;
    }
    ceilings_ = MeasureCeilings();
    benchmark::AddCustomContext("model", absl::StrFormat("%.1f M parameters", parameters_ / 1e6));
    benchmark::AddCustomContext("processor", Processor());
    benchmark::AddCustomContext("kernels", Simd().name);
    benchmark::AddCustomContext("blas_of_libtorch", Blas());
    for (const auto& [type, name] : kTypes) {
      benchmark::AddCustomContext(absl::StrCat("peak_", name),
                                  absl::StrFormat("%.0f GOP/s", ceilings_.ops[type] / 1e9));
    }
    benchmark::AddCustomContext("peak_memory",
                                absl::StrFormat("read at %.1f GB/s", ceilings_.read / 1e9));
    return absl::OkStatus();
  }

  // Prints what a second thread brings, in time on the wall: the least of many steps, since others
  // use the machine, too. REQUIRES: Prepare().
  absl::Status MeasureThreads() {
    constexpr int kBatch = 32;
    double load = 0;
    getloadavg(&load, 1);
    std::printf("%s, kernels %s, %d sessions at position 100, load average %.1f\n",
                Processor().c_str(), Simd().name, kBatch, load);
    const ThreadGain gain = MeasureThreadGain();
    std::printf(
        "plain loops of two threads: %.2f x the multiplications of one, %.2f x its reading\n",
        gain.ops, gain.read);
    std::printf("%-24s %12s %20s %26s\n", "type", "ms a step", "two threads a turn",
                "two turns side by side");
    for (const std::string& kind :
         {std::string("float32"), std::string("int8"), absl::StrCat("int8", kHalfStates)}) {
      LEAPSTREAM_RETURN_IF_ERROR(Use(kind, kBatch, 100));
      double one = 0, two = 0;
      LEAPSTREAM_RETURN_IF_ERROR(LeastSeconds(*sessions_, &one));
      {
        const ThreadsScope threads(2);
        LEAPSTREAM_RETURN_IF_ERROR(LeastSeconds(*sessions_, &two));
      }
      // Both threads make as many steps, so that none is alone while it is measured.
      Sessions second(*translator_, kBatch);
      while (second.position() < 100) LEAPSTREAM_RETURN_IF_ERROR(second.Step());
      double beside = 1e9;
      for (int round = 0; round < 4; ++round) {
        absl::Status here, there;
        const absl::Time start = absl::Now();
        std::thread neighbour([&] { there = TenSteps(second); });
        here = TenSteps(*sessions_);
        neighbour.join();
        beside = std::min(beside, absl::ToDoubleSeconds(absl::Now() - start) / 10);
        LEAPSTREAM_RETURN_IF_ERROR(here);
        LEAPSTREAM_RETURN_IF_ERROR(there);
      }
      std::printf("%-24s %12.2f %12.2f %6.2f x %18.2f %6.2f x\n", kind.c_str(), 1e3 * one,
                  1e3 * two, one / two, 1e3 * beside, 2 * one / beside);
    }
    return absl::OkStatus();
  }

  // Prints the operations of LibTorch in a step of 32 sessions, and the thread's time in each: the
  // mean of some steps. REQUIRES: Prepare().
  absl::Status MeasureOperations() {
    constexpr int kBatch = 32, kSteps = 8;
    LEAPSTREAM_RETURN_IF_ERROR(Use("libtorch", kBatch, 32));
    absl::Status status;
    const auto operations = CountTorchOperations([&] {
      for (int i = 0; i < kSteps && status.ok(); ++i) status = sessions_->Step();
    });
    LEAPSTREAM_RETURN_IF_ERROR(status);
    std::vector<std::pair<double, std::string>> by_time;
    int64_t calls = 0;
    for (const auto& [name, operation] : operations) {
      by_time.emplace_back(-operation.seconds, name);
      calls += operation.calls;
    }
    std::sort(by_time.begin(), by_time.end());
    std::printf(
        "%s self- and cross-attention, %d sessions at position 32: %.1f operations a step\n",
        config_.decoder.self_attention.c_str(), kBatch, static_cast<double>(calls) / kSteps);
    for (const auto& [seconds, name] : by_time) {
      std::printf("%8.2f ms %8.1f  %s\n", -1e3 * seconds / kSteps,
                  static_cast<double>(operations.at(name).calls) / kSteps, name.c_str());
    }
    return absl::OkStatus();
  }

  void Run(benchmark::State& state, const std::string& kind, int batch, int position) {
    if (absl::Status status = Use(kind, batch, position); !status.ok()) {
      state.SkipWithError(std::string(status.message()).c_str());
      return;
    }
    std::vector<double> times;
    for (auto _ : state) {
      const double start = ThreadSeconds();
      const absl::Status status = sessions_->Step();
      times.push_back(ThreadSeconds() - start);
      state.SetIterationTime(times.back());
      if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    const double median = times[times.size() / 2];
    const double products = 2.0 * static_cast<double>(multiplied_) * batch;
    state.counters["us_per_token"] = 1e6 * median / batch;
    state.counters["tokens_per_second"] = batch / median;
    state.counters["GFLOP/s"] = products / median / 1e9;
    if (kind == "libtorch") return;
    const ComputeType type = Type(kind);
    const double weight_bytes = static_cast<double>(multiplied_) * BytesPerWeight(type);
    const double state_bytes = sessions_->state_bytes() * batch;
    const double floor = std::max(weight_bytes / ceilings_.read, products / ceilings_.ops[type]) +
                         state_bytes / ceilings_.read;
    state.counters["GB/s"] = (weight_bytes + state_bytes) / median / 1e9;
    state.counters["of_peak"] = products / median / ceilings_.ops[type];
    state.counters["of_floor"] = floor / median;
    const double plain = PlainStates(kind, batch);
    if (plain == 0) return;
    state.counters["plain_states_ms"] = 1e3 * plain;
    state.counters["of_plain_loops"] =
        (std::max(weight_bytes / ceilings_.read, products / ceilings_.ops[type]) + plain) / median;
  }

 private:
  // A kind is "libtorch" or a compute type, with kHalfStates behind it if sums are float16.
  static ComputeType Type(const std::string& kind) {
    for (const auto& [type, type_name] : kTypes) {
      if (absl::StartsWith(kind, type_name)) return type;
    }
    return ComputeType::kFloat32;
  }
  // PlainStateSeconds() of the model's states; 0: they are not LeaP's sums alone.
  double PlainStates(const std::string& kind, int batch) {
    for (const SideConfig* side : {&config_.encoder, &config_.decoder}) {
      if (side->self_attention != "leap" || side->cross_attention != "leap") return 0;
    }
    const bool halves = absl::EndsWith(kind, kHalfStates);
    const auto [found, is_new] = plain_states_.try_emplace({batch, halves});
    if (is_new) {
      StateShape shape;
      shape.blocks = config_.encoder.layers + 2 * config_.decoder.layers;
      shape.sessions = batch;
      shape.heads = config_.decoder.attention_heads;
      shape.d = config_.decoder.embed_dim / shape.heads;
      shape.halves = halves;
      found->second = PlainStateSeconds(shape);
    }
    return found->second;
  }

  static absl::Status TenSteps(Sessions& sessions) {
    for (int i = 0; i < 10; ++i) LEAPSTREAM_RETURN_IF_ERROR(sessions.Step());
    return absl::OkStatus();
  }

  static absl::Status LeastSeconds(Sessions& sessions, double* least) {
    *least = 1e9;
    for (int i = 0; i < 40; ++i) {
      const absl::Time start = absl::Now();
      LEAPSTREAM_RETURN_IF_ERROR(sessions.Step());
      *least = std::min(*least, absl::ToDoubleSeconds(absl::Now() - start));
    }
    return absl::OkStatus();
  }

  // The processor's name, family and model, as Linux has them.
  static std::string Processor() {
    std::map<std::string, std::string> facts;
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
      const size_t colon = line.find(':');
      if (colon == std::string::npos || colon + 2 > line.size()) continue;
      facts.emplace(line.substr(0, line.find_last_not_of(" \t:", colon) + 1),
                    line.substr(colon + 2));
    }
    return absl::StrCat(facts["model name"], ", family ", facts["cpu family"], ", model ",
                        facts["model"]);
  }

  // The library that LibTorch's products come from: the reference BLAS is many times slower than
  // OpenBLAS. OpenBLAS has its slowest kernels for processors that are newer than it.
  static std::string Blas() {
    std::string found = "unknown";
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* out) {
          for (const char* name : {"libopenblas", "libmkl", "libblis", "libblas"}) {
            if (std::strstr(info->dlpi_name, name) != nullptr) {
              *static_cast<std::string*>(out) = info->dlpi_name;
              return 1;
            }
          }
          return 0;
        },
        &found);
    if (void* const core = dlsym(RTLD_DEFAULT, "openblas_get_corename")) {
      absl::StrAppend(&found, " for ", reinterpret_cast<const char* (*)()>(core)());
    }
    return found;
  }

  absl::Status Use(const std::string& kind, int batch, int position) {
    if (kind != kind_) {
      sessions_.reset();
      translator_.reset();
      kind_.clear();
      auto weights = Weights::Load(weights_, Type(kind));
      if (!weights.ok()) return weights.status();
      ModelConfig config = config_;
      if (kind == "libtorch") {
        config.compute_type = "float32";
        auto torch = TranslatorOnDevice(config, *weights, {"cpu", 1});
        if (!torch.ok()) return torch.status();
        translator_ = *std::move(torch);
      } else {
        if (absl::EndsWith(kind, kHalfStates)) config.state_type = "float16";
        auto transformer = Transformer::Create(config, *std::move(weights));
        if (!transformer.ok()) return transformer.status();
        translator_ = *std::move(transformer);
      }
      kind_ = kind;
    }
    if (sessions_ == nullptr || batch_ != batch || sessions_->position() > position) {
      sessions_.reset();
      if (absl::Status status = translator_->Reserve(batch); !status.ok()) return status;
      sessions_ = std::make_unique<Sessions>(*translator_, batch);
      batch_ = batch;
    }
    while (sessions_->position() < position) {
      if (absl::Status status = sessions_->Step(); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  std::string weights_;
  const std::string directory_;
  ModelConfig config_;
  int64_t parameters_ = 0;
  // Weights that a step multiplies; the embedding counts only as the output.
  int64_t multiplied_ = 0;
  Ceilings ceilings_;
  std::map<std::pair<int, bool>, double> plain_states_;
  std::string kind_;
  std::unique_ptr<Translator> translator_;
  int batch_ = 0;
  std::unique_ptr<Sessions> sessions_;
};

int Main(int argc, char** argv) {
  const char* folder = std::getenv("TMPDIR");
  std::string weights =
      absl::StrCat(folder != nullptr ? folder : "/tmp", "/leapstream-bench.safetensors");
  std::string directory;
  std::string shape;
  std::string compute_type = "int8";
  bool threads = false;
  bool operations = false;
  std::vector<char*> others = {argv[0]};
  for (int i = 1; i < argc; ++i) {
    if (i + 1 < argc && std::strcmp(argv[i], "--weights") == 0) {
      weights = argv[++i];
    } else if (i + 1 < argc && std::strcmp(argv[i], "--model") == 0) {
      directory = argv[++i];
    } else if (i + 1 < argc && std::strcmp(argv[i], "--shape") == 0) {
      shape = argv[++i];
    } else if (i + 1 < argc && std::strcmp(argv[i], "--compute-type") == 0) {
      compute_type = argv[++i];
    } else if (std::strcmp(argv[i], "--threads") == 0) {
      threads = true;
    } else if (std::strcmp(argv[i], "--operations") == 0) {
      operations = true;
    } else {
      others.push_back(argv[i]);
    }
  }
  if (!shape.empty()) {
    if (directory.empty()) {
      directory =
          absl::StrCat(folder != nullptr ? folder : "/var/tmp", "/leapstream-shape-", shape);
    }
    const absl::Status status = MeasureShape(shape, compute_type, directory);
    if (!status.ok()) std::fprintf(stderr, "step_bench: %s\n", status.ToString().c_str());
    return status.ok() ? 0 : 1;
  }
  Bench bench(weights, directory);
  if (threads || operations) {
    absl::Status status = bench.Prepare();
    if (status.ok() && threads) status = bench.MeasureThreads();
    if (status.ok() && operations) status = bench.MeasureOperations();
    if (status.ok() && operations && directory.empty()) {
      Bench softmax(weights + ".softmax", "", "softmax");
      status = softmax.Prepare();
      if (status.ok()) status = softmax.MeasureOperations();
    }
    if (!status.ok()) std::fprintf(stderr, "step_bench: %s\n", status.ToString().c_str());
    return status.ok() ? 0 : 1;
  }
  const auto add = [&](const std::string& kind, int batch, int position) {
    const std::string name =
        kind == "libtorch"
            ? absl::StrCat("libtorch/batch:", batch, "/position:", position, "/compute:float32")
            : absl::StrCat(absl::EndsWith(kind, kHalfStates) ? "float16_states" : "step",
                           "/batch:", batch, "/position:", position,
                           "/compute:", absl::StripSuffix(kind, kHalfStates));
    benchmark::RegisterBenchmark(name.c_str(),
                                 [&bench, kind, batch, position](benchmark::State& state) {
                                   bench.Run(state, kind, batch, position);
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseManualTime()
        ->Iterations(batch > 256  ? 3
                     : batch > 32 ? 8
                     : batch > 1  ? 16
                                  : 32);
  };
  return RunBenchmarks(others, [&] {
    if (absl::Status status = bench.Prepare(); !status.ok()) return status;
    for (const char* kind : {"libtorch", "float32", "bfloat16", "int8"}) {
      for (const int batch : {1, 2, 8, 32, 128, 256}) {
        add(kind, batch, 32);
        add(kind, batch, 100);
        if (batch == 1 || batch == 32) add(kind, batch, 512);
        if (kind == std::string("libtorch")) continue;
        if (batch == 1) add(kind, batch, 5000);
        add(absl::StrCat(kind, kHalfStates), batch, 100);
      }
      add(kind, 2048, 4);  // About 10 GB of states.
    }
    return absl::OkStatus();
  });
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  return leapstream::OpenStandardDescriptors() ? leapstream::Main(argc, argv) : 1;
}
