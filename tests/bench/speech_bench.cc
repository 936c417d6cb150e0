// What a READ costs with a speech model of the size of fairseq's espnet architecture and random
// weights: 12 encoder layers, d 256, 4 heads, FFN 2,048, 6 decoder layers, 256 convolution
// channels, 280 ms READs. Per attention of the encoder, compute type and length: the front end
// (features and subsampler, once per sample) and the encoder and one decoder step, which run again
// after each READ; and what both make of a second of audio of a segment of that length, wait-3.
// Usage: speech_bench [MAX_SECONDS]. CPU time of one thread.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include "absl/strings/str_cat.h"
#include "model/api/safetensors.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/transformer.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

constexpr int kSeconds[] = {5, 10, 20, 40, 60};

ModelConfig BenchConfig(const std::string& attention) {
  ModelConfig config;
  config.name = "bench";
  config.source_language = config.target_language = "x";
  config.causal_encoder = false;
  config.simul_type = "waitk";
  config.waitk_lagging = 3;
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 256;
    side->ffn_embed_dim = 2048;
    side->attention_heads = 4;
    side->normalize_before = true;
    side->self_attention = side->cross_attention = attention;
  }
  config.encoder.layers = 12;
  config.decoder.layers = 6;
  config.decoder.vocabulary_size = 10000;
  config.decoder.final_norm = true;
  config.share_decoder_input_output_embed = true;
  SpeechConfig& speech = config.speech.emplace();
  speech.conv_channels = 256;
  speech.cmvn_mean.assign(kMelBins, 12.0f);
  speech.cmvn_std.assign(kMelBins, 4.0f);
  return config;
}

std::unique_ptr<Transformer> RandomModel(const ModelConfig& config, ComputeType type) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    const auto inputs = static_cast<float>(count / spec.shape[0]);
    const float scale = spec.shape.size() > 1 ? std::sqrt(3.0f / inputs) : 0.1f;
    std::vector<float>& tensor = values[spec.name];
    for (int64_t i = 0; i < count; ++i) tensor.push_back(scale * uniform(random));
    views[spec.name] = {TensorType::kFloat32, spec.shape,
                        absl::string_view(reinterpret_cast<const char*>(tensor.data()),
                                          tensor.size() * sizeof(float))};
  }
  const char* folder = std::getenv("TMPDIR");
  const std::string path =
      absl::StrCat(folder == nullptr ? "/tmp" : folder, "/leapstream-speech-bench.safetensors");
  if (!WriteSafetensors(path, views).ok()) std::abort();
  auto weights = Weights::Load(path, config, type);
  if (!weights.ok()) std::abort();
  auto model = Transformer::Create(config, *std::move(weights));
  std::remove(path.c_str());
  if (!model.ok()) std::abort();
  return *std::move(model);
}

void Measure(const Transformer& model, const SpeechInput& input, int max_seconds) {
  const auto state = *model.NewState();
  SessionState* const one = state.get();
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 1000);
  std::vector<float> samples(input.SamplesPerRead());
  double front = 0, rest = 0;
  int reads = 0;
  for (const int seconds : kSeconds) {
    if (seconds > max_seconds) break;
    double last = 0;
    while (reads * input.SamplesPerRead() < seconds * kSpeechSampleRate) {
      for (float& sample : samples) sample = normal(random);
      double start = ThreadSeconds();
      if (!model.Read({SourceRows{one, {}, samples}}).ok()) std::abort();
      front += ThreadSeconds() - start;
      ++reads;
      if (reads < 3) continue;  // Wait-3.
      Decision decision;
      start = ThreadSeconds();
      if (!model.Decide({one}, absl::MakeSpan(&decision, 1)).ok()) std::abort();
      last = ThreadSeconds() - start;
      rest += last;
      one->Commit(decision.best.id);
    }
    const double audio = reads * input.SamplesPerRead() / static_cast<double>(kSpeechSampleRate);
    std::printf("  %3d s %6d states | %8.2f %10.1f | %10.1f %9.1f\n", seconds, one->source_read(),
                1e3 * front / reads, 1e3 * last, 1e3 * (front + rest) / audio,
                audio / (front + rest));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  using namespace leapstream;
  const int max_seconds = argc > 1 ? std::atoi(argv[1]) : 20;
  at::set_num_threads(1);
  c10::InferenceMode guard;
  std::printf("kernels: %s; ms of CPU time; 1 thread\n", Simd().name);
  for (const char* attention : {"leap", "softmax"}) {
    const ModelConfig config = BenchConfig(attention);
    for (const auto& [name, type] : {std::pair("float32", ComputeType::kFloat32),
                                     {"bfloat16", ComputeType::kBfloat16},
                                     {"int8", ComputeType::kInt8}}) {
      std::printf(
          "%s, %s\n   length         | front end   re-encode | per second  sessions\n"
          "                  |  per READ    last READ |  of audio   in real time\n",
          attention, name);
      Measure(*RandomModel(config, type), config.speech->input, max_seconds);
    }
  }
  return 0;
}
