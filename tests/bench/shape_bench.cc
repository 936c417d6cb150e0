#include "tests/bench/shape_bench.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/load_model.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

constexpr int kLag = 3;               // The k of wait-k.
constexpr int kTokens = 25;           // Of a segment, on both sides.
constexpr double kTokensASecond = 4;  // Three words a second, of one piece and a third each.

// A line of /proc/self/status, in megabytes (of 10^6 bytes).
double Megabytes(absl::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    int64_t kilobytes = 0;
    if (!absl::StartsWith(line, field)) continue;
    const size_t digits = line.find_first_of("0123456789");
    if (digits == std::string::npos) break;
    if (absl::SimpleAtoi(line.substr(digits, line.find(' ', digits) - digits), &kilobytes)) {
      return static_cast<double>(kilobytes) * 1024 / 1e6;
    }
  }
  return 0;
}

struct Cost {
  double read = 0;  // Seconds of CPU time for one session.
  double write = 0;
};

// Sessions that speak side by side, segment by segment.
absl::StatusOr<Cost> MeasureSessions(const Translator& translator, int sessions) {
  std::vector<std::unique_ptr<SessionState>> states(sessions);
  std::vector<SessionState*> pointers;
  std::vector<SourceRows> rows;
  constexpr TokenId kToken = 100;
  for (auto& state : states) {
    LEAPSTREAM_ASSIGN_OR_RETURN(state, translator.NewState());
    pointers.push_back(state.get());
    rows.push_back({state.get(), absl::MakeConstSpan(&kToken, 1)});
  }
  std::vector<Decision> decisions(sessions);
  Cost cost;
  for (int t = 0; t < kTokens; ++t) {
    double start = ThreadSeconds();
    for (int r = 0; r < (t == 0 ? kLag : 1) && t <= kTokens - kLag; ++r) {
      LEAPSTREAM_RETURN_IF_ERROR(translator.Read(rows));
    }
    cost.read += ThreadSeconds() - start;
    start = ThreadSeconds();
    LEAPSTREAM_RETURN_IF_ERROR(translator.Decide(pointers, absl::MakeSpan(decisions)));
    for (SessionState* state : pointers) state->Commit(kToken);
    cost.write += ThreadSeconds() - start;
  }
  cost.read /= kTokens * sessions;
  cost.write /= kTokens * sessions;
  return cost;
}

}  // namespace

absl::Status MeasureShape(const std::string& shape, const std::string& compute_type,
                          const std::string& directory) {
  const std::optional<ModelConfig> config = ShapeConfig(shape);
  if (!config.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape needs to be base, big, 600M or 1.3B, got ", shape));
  }
  LEAPSTREAM_RETURN_IF_ERROR(
      WriteRandomModel(*config, directory, LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de"));
  int64_t parameters = 0;
  for (const TensorSpec& spec : ListTensors(*config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    parameters += count;
  }
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (absl::StartsWith(entry.path().filename().string(), "packed.")) {
      std::filesystem::remove(entry.path());
    }
  }
  double loads[3] = {};
  for (double& out : loads) getloadavg(&out, 1);
  std::printf("%s: %.0f M parameters, float16 weights, %s, kernels %s, load average %.1f\n",
              shape.c_str(), static_cast<double>(parameters) / 1e6, compute_type.c_str(),
              Simd().name, loads[0]);
  const double before = Megabytes("VmRSS:");
  LoadOptions options;
  options.compute_type = compute_type;
  std::shared_ptr<const Model> model;
  for (const char* how : {"first start, which packs the weights", "start from packed weights"}) {
    model.reset();
    const absl::Time start = absl::Now();
    LEAPSTREAM_ASSIGN_OR_RETURN(model, LoadModel(directory, options));
    std::printf("%-40s %8.2f s\n", how, absl::ToDoubleSeconds(absl::Now() - start));
  }
  std::printf("%-40s %8.0f MB\n", "resident memory of the model", Megabytes("VmRSS:") - before);
  std::printf("wait-%d, segments of %d tokens, one thread, its CPU time:\n", kLag, kTokens);
  std::printf("%8s %10s %10s   %s\n", "sessions", "READ ms", "WRITE ms", "in real time per core");
  for (const int sessions : {1, 8, 32}) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const Cost cost,
                                MeasureSessions(*model->translator, sessions));
    std::printf("%8d %10.3f %10.2f   %.1f\n", sessions, 1e3 * cost.read, 1e3 * cost.write,
                1 / (kTokensASecond * (cost.read + cost.write)));
  }
  std::printf("%-40s %8.0f MB\n", "resident memory of the process", Megabytes("VmRSS:"));
  std::printf("%-40s %8.0f MB\n", "its greatest", Megabytes("VmHWM:"));
  return absl::OkStatus();
}

}  // namespace leapstream
