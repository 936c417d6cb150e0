#ifndef LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_
#define LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "model/api/half.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/engine/model_family.h"

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

// Models of sizes that people have, trained offline, with soft-max attention and one embedding for
// all: "base" and "big" are fairseq's transformer and transformer_vaswani_wmt_en_de_big, before the
// layers normalised, with 32,000 symbols; "600M" and "1.3B" are NLLB-200's. Nothing for other names.
inline std::optional<ModelConfig> ShapeConfig(absl::string_view shape) {
  struct Shape {
    absl::string_view name;
    int width, ffn, layers, heads, vocabulary;
  };
  constexpr Shape kShapes[] = {{"base", 512, 2048, 6, 8, 32000},
                               {"big", 1024, 4096, 6, 16, 32000},
                               {"600M", 1024, 4096, 12, 16, 256206},
                               {"1.3B", 1024, 8192, 24, 16, 256206}};
  for (const Shape& each : kShapes) {
    if (each.name != shape) continue;
    ModelConfig config = BenchConfig(each.vocabulary);
    config.name = std::string(shape);
    config.simul_type = "none";
    config.waitk_lagging = 0;
    config.causal_encoder = false;
    for (SideConfig* side : {&config.encoder, &config.decoder}) {
      side->embed_dim = side->input_dim = side->output_dim = each.width;
      side->ffn_embed_dim = each.ffn;
      side->layers = each.layers;
      side->attention_heads = each.heads;
      side->self_attention = side->cross_attention = "softmax";
    }
    return config;
  }
  return std::nullopt;
}

// Writes random weights for `config`, always the same, unless the file is there. One tensor after
// the other: no more than a part of one is ever in memory. Layer norms are near to 1.
inline absl::Status WriteRandomWeights(const ModelConfig& config, const std::string& path,
                                       TensorType type = TensorType::kFloat32) {
  if (std::filesystem::exists(path)) return absl::OkStatus();
  const std::vector<TensorSpec> specs = ListTensors(config);
  const auto count = [](const TensorSpec& spec) {
    int64_t product = 1;
    for (const int64_t size : spec.shape) product *= size;
    return product;
  };
  std::string header = "{";
  int64_t end = 0;
  for (const TensorSpec& spec : specs) {
    const int64_t begin = end;
    end += count(spec) * ElementBytes(type);
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", spec.name, "\":{\"dtype\":\"",
                    type == TensorType::kFloat16 ? "F16" : "F32", "\",\"shape\":[",
                    absl::StrJoin(spec.shape, ","), "],\"data_offsets\":[", begin, ",", end, "]}");
  }
  header += "}";
  header.append((64 - (8 + header.size()) % 64) % 64, ' ');
  std::ofstream file(path + ".new", std::ios::binary | std::ios::trunc);
  const uint64_t size = header.size();
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));  // x86 is little-endian.
  file.write(header.data(), static_cast<std::streamsize>(size));
  uint32_t random = 1;
  const auto uniform = [&random] {  // In [-1, 1): Marsaglia's xorshift.
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    return static_cast<float>(static_cast<int32_t>(random)) * 0x1p-31f;
  };
  std::vector<float> floats;
  std::vector<uint16_t> halves;
  for (const TensorSpec& spec : specs) {
    const int64_t all = count(spec);
    const auto inputs = static_cast<float>(all / spec.shape[0]);
    const float scale = spec.shape.size() > 1 ? std::sqrt(3.0f / inputs) : 0.1f;
    const bool is_scale =
        absl::EndsWith(spec.name, "norm.weight") || absl::EndsWith(spec.name, "norm.variance");
    const float mean = is_scale ? 1 : 0;
    for (int64_t begin = 0; begin < all; begin += 1 << 20) {
      floats.resize(std::min<int64_t>(all - begin, 1 << 20));
      for (float& x : floats) x = mean + scale * uniform();
      if (type == TensorType::kFloat32) {
        file.write(reinterpret_cast<const char*>(floats.data()),
                   static_cast<std::streamsize>(floats.size() * sizeof(float)));
        continue;
      }
      halves.clear();
      for (const float x : floats) halves.push_back(FloatToHalf(x));
      file.write(reinterpret_cast<const char*>(halves.data()),
                 static_cast<std::streamsize>(halves.size() * sizeof(uint16_t)));
    }
  }
  file.close();
  if (!file) return absl::InternalError(path + ": cannot be written");
  std::filesystem::rename(path + ".new", path);
  return absl::OkStatus();
}

// Writes a model directory of a shape, with float16 weights, unless it is there. Its symbols are
// those of the embedded model, in the directory `pieces`, and then numbers; its SentencePiece models
// are the embedded model's.
inline absl::Status WriteRandomModel(const ModelConfig& config, const std::string& directory,
                                     const std::string& pieces) {
  namespace fs = std::filesystem;
  if (fs::exists(absl::StrCat(directory, "/", kModelJson))) return absl::OkStatus();
  fs::create_directories(directory);
  absl::Status status = WriteRandomWeights(config, absl::StrCat(directory, "/", kWeightsFile),
                                           TensorType::kFloat16);
  if (!status.ok()) return status;
  for (const char* name : {kSourceDictionaryFile, kTargetDictionaryFile}) {
    std::ifstream first(absl::StrCat(pieces, "/", name));
    std::ofstream dictionary(absl::StrCat(directory, "/", name));
    std::string line;
    for (int i = 4; i < config.encoder.vocabulary_size; ++i) {
      if (std::getline(first, line)) {
        dictionary << line << "\n";
      } else {
        dictionary << "number" << i << " 1\n";
      }
    }
    dictionary.close();
    if (!dictionary) return absl::InternalError(absl::StrCat(directory, ": no dictionary"));
  }
  for (const char* name : {kSourceSentencePieceFile, kTargetSentencePieceFile}) {
    fs::copy_file(absl::StrCat(pieces, "/", name), absl::StrCat(directory, "/", name),
                  fs::copy_options::overwrite_existing);
  }
  return WriteModelJson(directory, config);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_BENCH_MODEL_H_
