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

// Shared by programs that are made with Google Benchmark.
namespace leapstream {

inline constexpr std::pair<ComputeType, const char*> kTypes[] = {
    {ComputeType::kFloat32, "float32"},
    {ComputeType::kBfloat16, "bfloat16"},
    {ComputeType::kInt8, "int8"}};

// Reports names as they were registered; Google Benchmark appends the way of measuring to them.
template <typename Reporter>
class Plain : public Reporter {
 public:
  using Run = benchmark::BenchmarkReporter::Run;
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> plain = runs;
    for (Run& run : plain) {
      run.run_name.iterations = run.run_name.time_type = "";
      failed = failed || run.error_occurred;
    }
    Reporter::ReportRuns(plain);
  }

  bool failed = false;  // One of the benchmarks failed.
};

// Runs a program of benchmarks: `prepare` registers them. `flags` are the program's name, then
// Google Benchmark's flags. Returns main()'s exit status.
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
  const auto run = [](auto reporter) {
    benchmark::RunSpecifiedBenchmarks(&reporter);
    return reporter.failed;
  };
  const bool failed =
      json ? run(Plain<benchmark::JSONReporter>()) : run(Plain<benchmark::ConsoleReporter>());
  benchmark::Shutdown();
  return failed ? 1 : 0;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_BENCHMARKS_H_
