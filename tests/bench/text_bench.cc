// A token of a language model at several places of a text, with LeaP and with soft-max: a decoder
// of d 512, 6 layers, 8 heads, FFN 2,048 and 32,000 symbols, one text, one thread. A row has
//   token us   one more token with its scores, the median of some;
//   state KB   the state's memory, and the bytes with which it travels.
// Then the ratio to place 100. The past of soft-max is made of random numbers, since computing it
// takes a quarter of an hour; LeaP reads all of its past. Usage: text_bench [LAST_PLACE].
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/standard_descriptors.h"
#include "model/engine/attention/state_bytes.h"
#include "model/engine/decoder_only.h"
#include "model/engine/kernels/simd.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

constexpr int kVocabulary = 32000;
constexpr int kMeasuredTokens = 31;

std::unique_ptr<DecoderOnly> MakeModel(const std::string& attention, const std::string& folder) {
  ModelConfig config = BenchConfig(kVocabulary);
  config.source_language = config.target_language = "";
  config.simul_type = "none";
  config.waitk_lagging = 0;
  config.share_all_embeddings = false;
  config.language_model.emplace();
  config.decoder.self_attention = attention;
  LEAPSTREAM_CHECK(ValidateModelConfig(config).ok());
  const std::string path = folder + "/" + attention + ".safetensors";
  LEAPSTREAM_CHECK(WriteRandomWeights(config, path).ok());
  absl::StatusOr<Weights> weights = Weights::Load(path);
  LEAPSTREAM_CHECK(weights.ok());
  auto model = DecoderOnly::Create(config, *std::move(weights));
  LEAPSTREAM_CHECK(model.ok());
  return *std::move(model);
}

// The bytes of a soft-max state of `length` positions.
std::string SoftmaxState(int64_t length) {
  constexpr int kLayers = 6;
  constexpr int64_t kWidth = 2 * 512;
  std::string bytes;
  AppendNumber(length, &bytes);
  std::vector<float> position(kWidth);
  for (int layer = 0; layer < kLayers; ++layer) {
    AppendNumber(length, &bytes);
    for (int64_t p = 0; p < length; ++p) {
      for (int64_t i = 0; i < kWidth; ++i) {
        position[i] = static_cast<float>((p * 31 + i * 17 + layer) % 97) / 97 - 0.5f;
      }
      AppendFloats(position.data(), kWidth, &bytes);
    }
  }
  return bytes;
}

// Appends tokens, and returns the CPU time in seconds.
double Extend(const DecoderOnly& model, SessionState* state, int count, bool scored) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(4 + (state->source_read() + i) * 7 % 30000);
  const double start = ThreadSeconds();
  const absl::Status status =
      model.Extend({TextRows{state, tokens, scored ? tokens.size() - 1 : tokens.size()}},
                   [](size_t, size_t, const TokenScores&) { return true; });
  LEAPSTREAM_CHECK(status.ok());
  return ThreadSeconds() - start;
}

void Measure(const std::string& attention, const std::vector<int>& places,
             const std::string& folder) {
  const auto model = MakeModel(attention, folder);
  std::unique_ptr<SessionState> state = *model->NewState();
  double first = 0;
  for (const int place : places) {
    if (attention == "softmax") {
      state = *model->Restore(SoftmaxState(place - kMeasuredTokens));
    }
    while (state->source_read() < place - kMeasuredTokens) {
      Extend(*model, state.get(), std::min(64, place - kMeasuredTokens - state->source_read()),
             false);
    }
    std::vector<double> times;
    while (state->source_read() < place) times.push_back(Extend(*model, state.get(), 1, true));
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    const double median = 1e6 * times[times.size() / 2];
    if (first == 0) first = median;
    std::printf("%-8s %8d %12.1f %12.1f %12.1f %8.2f\n", attention.c_str(), place, median,
                static_cast<double>(state->bytes()) / 1e3,
                static_cast<double>(model->Save(*state).size()) / 1e3, median / first);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  using namespace leapstream;
  if (!OpenStandardDescriptors()) return 1;
  const int last = argc > 1 ? std::atoi(argv[1]) : 50000;
  if (last < 200) {
    std::fprintf(stderr, "text_bench: the last place must be 200 at least, got %s\n", argv[1]);
    return 2;
  }
  const std::string folder = std::filesystem::temp_directory_path() / "leapstream-text-bench";
  std::filesystem::create_directories(folder);
  std::printf("float32, 1 thread, its CPU time, kernels %s\n", Simd().name);
  std::printf("%-8s %8s %12s %12s %12s %8s\n", "kind", "place", "token us", "state KB", "saved KB",
              "ratio");
  for (const char* attention : {"leap", "softmax"}) {
    Measure(attention, {100, std::max(last / 10, 101), last}, folder);
  }
  return 0;
}
