#ifndef LEAPSTREAM_TESTS_TESTING_RANDOM_MODEL_H_
#define LEAPSTREAM_TESTS_TESTING_RANDOM_MODEL_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/api/translator.h"
#include "model/engine/model_family.h"

namespace leapstream {

inline std::string EmbeddedModel() { return LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de"; }

// Writes a model directory of this name with the embedded model's files and random weights, and
// returns its path: a small model with soft-max and a bidirectional encoder, or what `edit` makes
// of it.
inline std::string WriteRandomModel(const std::string& name,
                                    const std::function<void(ModelConfig&)>& edit = nullptr) {
  namespace fs = std::filesystem;
  const std::string directory = absl::StrCat(testing::TempDir(), "/", name);
  auto config = ReadModelDirectory(EmbeddedModel());
  EXPECT_TRUE(config.ok()) << config.status();
  config->causal_encoder = false;
  config->simul_type = "none";
  config->waitk_lagging = 0;
  for (SideConfig* side : {&config->encoder, &config->decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 16;
    side->ffn_embed_dim = 24;
    side->layers = 2;
    side->attention_heads = 2;
    side->self_attention = side->cross_attention = "softmax";
  }
  if (edit) edit(*config);
  fs::remove_all(directory);
  fs::copy(EmbeddedModel(), directory);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(*config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    std::vector<float>& w = values[spec.name];
    for (int64_t i = 0; i < count; ++i) w.push_back(0.3f * normal(random));
    if (absl::EndsWith(spec.name, "variance")) {
      for (float& number : w) number = 0.5f + std::abs(number);
    }
    views[spec.name] = {
        TensorType::kFloat32, spec.shape,
        absl::string_view(reinterpret_cast<const char*>(w.data()), w.size() * sizeof(float))};
  }
  EXPECT_TRUE(WriteSafetensors(fs::path(directory) / kWeightsFile, views).ok());
  EXPECT_TRUE(WriteModelJson(directory, *config).ok());
  return directory;
}

// Edits the float32 values of a matrix of a model directory.
inline void EditTable(const std::string& directory, const std::string& table,
                      const std::function<void(size_t width, std::vector<float>* rows)>& edit) {
  const std::string weights = absl::StrCat(directory, "/", kWeightsFile);
  const auto config = ReadModelDirectory(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto file = MappedFile::Open(weights);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string bytes((*file)->bytes());
  auto tensors = ParseSafetensors(bytes, weights);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  TensorView& view = tensors->at(table);
  std::vector<float> rows(view.bytes.size() / sizeof(float));
  std::memcpy(rows.data(), view.bytes.data(), view.bytes.size());
  edit(static_cast<size_t>(view.shape[1]), &rows);
  view.bytes = {reinterpret_cast<const char*>(rows.data()), view.bytes.size()};
  ASSERT_TRUE(WriteSafetensors(weights, *tensors).ok());
  ASSERT_TRUE(WriteModelJson(directory, *config).ok());
}

// Makes the embedding of a source token so large that no activation of a session with it is finite.
// Source and target need embeddings of their own, or else every score is huge. `table`: the tensor.
inline void MakeTokenOverflow(const std::string& directory, TokenId token,
                              const std::string& table = "encoder.embedding") {
  EditTable(directory, table, [token](size_t width, std::vector<float>* rows) {
    for (size_t i = 0; i < width; ++i) {
      (*rows)[static_cast<size_t>(token) * width + i] = i % 2 == 0 ? 3e38f : -3e38f;
    }
  });
}

// Makes row r of a table of a model directory its row r % count, so that tokens are alike.
inline void RepeatRows(const std::string& directory, const std::string& table, size_t count) {
  EditTable(directory, table, [count](size_t width, std::vector<float>* rows) {
    for (size_t i = count * width; i < rows->size(); ++i) (*rows)[i] = (*rows)[i - count * width];
  });
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_RANDOM_MODEL_H_
