#ifndef LEAPSTREAM_TESTS_BENCH_BENCHMARKS_H_
#define LEAPSTREAM_TESTS_BENCH_BENCHMARKS_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "tests/bench/thread_time.h"

// What programs share that are made with Google Benchmark.
namespace leapstream {

inline constexpr std::pair<ComputeType, const char*> kTypes[] = {
    {ComputeType::kFloat32, "float32"},
    {ComputeType::kBfloat16, "bfloat16"},
    {ComputeType::kInt8, "int8"}};

template <typename F>
double BestSeconds(int repeats, F&& f) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = ThreadSeconds();
    f();
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

// Multiplications and additions per second, with weights that stay in the caches.
inline double PeakOps(ComputeType type, Workspace& scratch) {
  double peak = 0;
  for (const int64_t outputs : {32, 128, 512}) {
    const int64_t in = 512, rows = 64;
    std::vector<float> w(outputs * in, 0.5f), x(rows * in, 0.25f), y(rows * outputs);
    const PackedLinear linear(w.data(), nullptr, outputs, in, type);
    const int64_t times = 16384 / outputs;
    const double seconds = BestSeconds(5, [&] {
      for (int64_t i = 0; i < times; ++i) linear.Apply(x.data(), rows, y.data(), scratch);
    });
    peak = std::max(peak, 2.0 * static_cast<double>(outputs * in * rows * times) / seconds);
  }
  return peak;
}

// Reports names as they were registered; Google Benchmark puts how it was measured behind them.
template <typename Reporter>
class Plain : public Reporter {
 public:
  using Run = benchmark::BenchmarkReporter::Run;
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> plain = runs;
    for (Run& run : plain) run.run_name.iterations = run.run_name.time_type = "";
    Reporter::ReportRuns(plain);
  }
};

// A program of benchmarks: `prepare` registers them. `flags` are its name, then Google Benchmark's
// flags. Returns what main() does.
template <typename F>
int RunBenchmarks(std::vector<char*> flags, const F& prepare) {
  const bool json = std::any_of(flags.begin(), flags.end(), [](const char* flag) {
    return std::strcmp(flag, "--benchmark_format=json") == 0;
  });
  int count = static_cast<int>(flags.size());
  benchmark::Initialize(&count, flags.data());
  if (benchmark::ReportUnrecognizedArguments(count, flags.data())) return 2;
  if (const absl::Status status = prepare(); !status.ok()) {
    std::fprintf(stderr, "%s: %s\n", flags[0], std::string(status.message()).c_str());
    return 1;
  }
  if (json) {
    Plain<benchmark::JSONReporter> reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
  } else {
    Plain<benchmark::ConsoleReporter> reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
  }
  benchmark::Shutdown();
  return 0;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_BENCHMARKS_H_
