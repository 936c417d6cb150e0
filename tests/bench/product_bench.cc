// Products alone, as compare.py --products wants them. The program writes one line of facts, among
// them what this thread can do in registers, then for each line it reads, TYPE:ROWS:IN:OUT, the
// least CPU seconds of a product in many short runs, and those of quantising its rows among them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/standard_descriptors.h"
#include "model/engine/kernels/packed_linear.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/ceilings.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

std::vector<float> Random(int64_t count) {
  std::minstd_rand random(count + 1);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(random() % 2001) / 1000 - 1;
  return x;
}

// The least time of f among many runs of a millisecond: other programs use the machine.
template <typename F>
double LeastSeconds(const F& f) {
  f();
  double start = ThreadSeconds();
  f();
  const double once = std::max(ThreadSeconds() - start, 1e-7);
  const int times = std::max(1, static_cast<int>(1e-3 / once));
  double least = 1e9;
  for (int run = 0; run < 9; ++run) {
    start = ThreadSeconds();
    for (int i = 0; i < times; ++i) f();
    least = std::min(least, (ThreadSeconds() - start) / times);
  }
  return least;
}

std::string Measure(const SimdKernels& simd, const PackedLinear& linear, int64_t rows, bool int8) {
  const int64_t in = linear.in();
  const std::vector<float> x = Random(rows * in);
  std::vector<float> y(rows * linear.out());
  Workspace scratch;
  const double product = LeastSeconds(
      [&] { linear.ApplyOn(simd, x.data(), rows, y.data(), scratch, Epilogue::kStore); });
  double quantising = 0;
  if (int8) {
    std::vector<char> quantised(2 * (in + 4));
    quantising = LeastSeconds([&] {
      for (int64_t r = 0; r < rows; ++r) simd.quantise(x.data() + r * in, in, quantised.data());
    });
  }
  return absl::StrCat("{\"seconds\": ", product, ", \"quantising\": ", quantising, "}");
}

int Main(const SimdKernels& simd) {
  Ceilings ceilings = MeasureCeilings(simd.name);
  std::map<std::string, PackedLinear> linears;  // Keyed by the case without its rows.
  std::cout << "{\"kernels\": \"" << simd.name << "\"";
  for (const auto& [type, name] : kTypes) {
    std::cout << ", \"peak_" << name << "\": " << ceilings.ops[type];
  }
  std::cout << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, ':');
    int64_t sizes[3] = {};
    const auto* const type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                          [&](const auto& t) { return parts[0] == t.second; });
    bool good = parts.size() == 4 && type != std::end(kTypes);
    for (int i = 0; good && i < 3; ++i) {
      good = absl::SimpleAtoi(parts[i + 1], &sizes[i]) && sizes[i] > 0;
    }
    if (!good) {
      std::cerr << "product_bench: a case needs to be TYPE:ROWS:IN:OUT, got " << line << "\n";
      return 1;
    }
    const auto [rows, in, out] = sizes;
    PackedLinear& linear = linears[absl::StrCat(parts[0], ":", in, ":", out)];
    if (linear.out() == 0) {
      linear = PackedLinear(Random(in * out).data(), Random(out).data(), out, in, type->first);
    }
    std::cout << Measure(simd, linear, rows, type->first == ComputeType::kInt8) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  if (!leapstream::OpenStandardDescriptors()) return 1;
  for (const leapstream::SimdKernels* simd : leapstream::SupportedSimdKernels()) {
    if (argc == 1 && simd == &leapstream::Simd()) return leapstream::Main(*simd);
    if (argc == 2 && simd->name == std::string(argv[1])) return leapstream::Main(*simd);
  }
  std::cerr << "usage: product_bench [KERNELS]\n";
  return 2;
}
