// Attention kinds side by side: the cost of one position of one block between the projections,
// which all kinds have alike, and the size of a segment's state. One row per kind and length:
//   stream us  one more position at that length, keys and values of the past kept (BigBird is
//              bidirectional: it computes every prefix anew, so there it is the cost of the whole);
//   whole ms   all positions of a segment at once, each seeing all;
//   state KB   bytes kept of the segment.
// Then the ratios of soft-max, BigBird and cosFormer to LeaP. Usage: attention_bench [MAX_LENGTH].
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include "base/standard_descriptors.h"
#include "model/engine/kernels/simd.h"
#include "tests/bench/thread_time.h"
#include "tests/model/engine/attention_kinds.h"

namespace leapstream {
namespace {

constexpr int64_t kHeads = 4;
constexpr int64_t kHeadDim = 64;
constexpr int64_t kMeasured = 32;  // Positions for the median.

struct Figures {
  double stream_us = 0;
  double whole_ms = 0;
  double state_kb = 0;
};

double Median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

std::vector<AttentionRow> Rows(AttentionState* state, int64_t begin, int64_t end) {
  std::vector<AttentionRow> rows;
  for (int64_t t = begin; t < end; ++t) rows.push_back({state, static_cast<int>(t)});
  return rows;
}

Figures Measure(const AttentionKindCase& kind, int64_t T, std::mt19937& random) {
  const at::Tensor q = NormalTensor(random, {T, kHeads, kHeadDim});
  const at::Tensor k = NormalTensor(random, {T, kHeads, kHeadDim});
  const at::Tensor v = NormalTensor(random, {T, kHeads, kHeadDim});
  const auto row = [](const at::Tensor& x, int64_t t) {
    return x.data_ptr<float>() + t * kHeads * kHeadDim;
  };
  at::Tensor out = at::zeros_like(q);
  Workspace scratch;
  Figures figures;
  const auto state = kind.kind->NewState();
  const std::vector<AttentionRow> all = Rows(state.get(), 0, T);
  std::vector<double> times;
  for (int repeat = 0; repeat < 3; ++repeat) {
    state->Reset();
    const double start = ThreadSeconds();
    kind.kind->Append(row(k, 0), row(v, 0), all, scratch);
    kind.kind->Attend(row(q, 0), all, row(out, 0), scratch);
    times.push_back(1e3 * (ThreadSeconds() - start));
    if (times.back() > 2000) break;  // This is long enough to be measured once.
  }
  figures.whole_ms = Median(times);
  figures.state_kb = state->bytes() / 1e3;
  if (!kind.causal) {
    figures.stream_us = figures.whole_ms * 1e3;
    return figures;
  }
  // The past is appended at once; then the last positions are stepped.
  state->Reset();
  const int64_t first = T - std::min(T, kMeasured);
  if (first > 0) kind.kind->Append(row(k, 0), row(v, 0), Rows(state.get(), 0, first), scratch);
  times.clear();
  for (int64_t t = first; t < T; ++t) {
    const std::vector<AttentionRow> one = Rows(state.get(), t, t + 1);
    const double start = ThreadSeconds();
    kind.kind->Step({row(q, t), row(k, t), row(v, t)}, one, StepPast::kSettled, row(out, t), scratch);
    times.push_back(1e6 * (ThreadSeconds() - start));
  }
  figures.stream_us = Median(times);
  return figures;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  using namespace leapstream;
  if (!OpenStandardDescriptors()) return 1;
  at::set_num_threads(1);
  const int64_t max_length = argc > 1 ? std::atoll(argv[1]) : 8192;
  if (max_length < 64) {
    std::fprintf(stderr, "attention_bench: the longest length must be 64 at least, got %s\n",
                 argv[1]);
    return 2;
  }
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string cpu;
  while (std::getline(cpuinfo, cpu) && cpu.rfind("model name", 0) != 0) {
  }
  std::printf(
      "one block, %d heads of %d, float32, batch 1, 1 thread, its CPU time, kernels %s, %s\n",
      static_cast<int>(kHeads), static_cast<int>(kHeadDim), Simd().name, cpu.c_str());
  std::printf("BigBird: blocks of %d, window 3, 2 global, %d random; cosFormer: M %d\n",
              static_cast<int>(kBigBirdBlock), static_cast<int>(kBigBirdRandomBlocks),
              static_cast<int>(kCosformerMaxLength));
  std::mt19937 random(1);
  const std::vector<AttentionKindCase> kinds = AttentionKinds(random, kHeads, kHeadDim);
  std::map<std::pair<std::string, int64_t>, Figures> figures;
  std::printf("%-14s %7s %12s %12s %12s\n", "kind", "length", "stream us", "whole ms", "state KB");
  for (const AttentionKindCase& kind : kinds) {
    for (int64_t T = 64; T <= max_length; T *= 2) {
      const Figures& f = figures[{kind.name, T}] = Measure(kind, T, random);
      std::printf("%-14s %7d %12.1f %12.2f %12.1f\n", kind.name.c_str(), static_cast<int>(T),
                  f.stream_us, f.whole_ms, f.state_kb);
      std::fflush(stdout);
    }
  }
  std::printf("\nratio to leap; above 1: leap is that much faster or smaller\n");
  std::printf("%-14s %7s %12s %12s %12s\n", "kind", "length", "stream", "whole", "state");
  for (const char* name : {"softmax", "big_bird", "cosformer"}) {
    for (int64_t T = 64; T <= max_length; T *= 2) {
      const Figures &f = figures[{name, T}], &leap = figures[{"leap", T}];
      std::printf("%-14s %7d %12.2f %12.2f %12.2f\n", name, static_cast<int>(T),
                  f.stream_us / leap.stream_us, f.whole_ms / leap.whole_ms,
                  f.state_kb / leap.state_kb);
    }
  }
  return 0;
}
