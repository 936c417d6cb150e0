#ifndef LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_
#define LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/api/half.h"
#include "model/api/model_directory.h"
#include "model/api/model_json.h"
#include "nlohmann/json.hpp"
#include "tests/end_to_end/processes.h"

namespace leapstream {

// The only source token that the edited model translates differently: it breaks the model.
inline constexpr int kPoison = 5999;

// Writes another version of the embedded model to `directory`: with another checksum and the same
// translations. The source token kPoison takes it beyond all numbers, and the server answers
// INTERNAL.
inline void WriteEditedModel(const std::string& directory) {
  std::filesystem::copy(kEmbeddedModel, directory);
  auto config = ParseModelJson(ReadFile(directory + "/" + kModelJson));
  ASSERT_TRUE(config.ok()) << config.status();
  config->share_all_embeddings = false;  // Otherwise the poison would be in each of the logits.
  const std::string path = directory + "/" + kWeightsFile;
  std::string file = ReadFile(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  std::string data = file.substr(8 + header_bytes);
  const auto halves = header["encoder.embedding"];
  ASSERT_EQ(halves["dtype"], "F16");
  header["decoder.embedding"] = halves;
  std::vector<float> embedding(size_t{halves["shape"][0]} * size_t{halves["shape"][1]});
  for (size_t i = 0; i < embedding.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, data.data() + size_t{halves["data_offsets"][0]} + i * sizeof(half),
                sizeof(half));
    embedding[i] = HalfToFloat(half);
  }
  embedding[kPoison * size_t{halves["shape"][1]}] = 3e38f;  // Infinity, once it is scaled.
  ASSERT_EQ(data.size() % sizeof(float), 0u);               // The format has no gaps.
  const size_t bytes = embedding.size() * sizeof(float);
  header["encoder.embedding"]["dtype"] = "F32";
  header["encoder.embedding"]["data_offsets"] = {data.size(), data.size() + bytes};
  data.append(reinterpret_cast<const char*>(embedding.data()), bytes);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  header_bytes = text.size();
  file.assign(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
  std::ofstream(path, std::ios::binary | std::ios::trunc) << file << text << data;
  const absl::Status written = WriteModelJson(directory, *config);
  ASSERT_TRUE(written.ok()) << written;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_
