#ifndef LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_
#define LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/engine/model_family.h"
#include "model/api/safetensors.h"

namespace leapstream {

// A model of a usual size: d 512, 6 + 6 layers, 8 heads, FFN 2,048, LeaP in all blocks, k = 3.
inline ModelConfig BenchConfig(int vocabulary) {
  ModelConfig config;
  config.name = "bench";
  config.source_language = config.target_language = "x";
  config.simul_type = "waitk";
  config.waitk_lagging = 3;
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 512;
    side->ffn_embed_dim = 2048;
    side->layers = 6;
    side->attention_heads = 8;
    side->vocabulary_size = vocabulary;
    side->normalize_before = side->final_norm = true;
    side->self_attention = side->cross_attention = "leap";
  }
  config.share_all_embeddings = config.share_decoder_input_output_embed = true;
  return config;
}

// Writes random weights for `config`, always the same, unless the file is there.
inline absl::Status WriteRandomWeights(const ModelConfig& config, const std::string& path) {
  if (std::filesystem::exists(path)) return absl::OkStatus();
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::map<std::string, std::vector<float>> weights;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    std::vector<float>& w = weights[spec.name];
    const auto inputs = static_cast<float>(count / spec.shape[0]);
    const float scale = spec.shape.size() > 1 ? std::sqrt(3.0f / inputs) : 0.1f;
    for (int64_t i = 0; i < count; ++i) w.push_back(scale * uniform(random));
    views[spec.name] = {
        TensorType::kFloat32, spec.shape,
        absl::string_view(reinterpret_cast<const char*>(w.data()), w.size() * sizeof(float))};
  }
  return WriteSafetensors(path, views);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_
