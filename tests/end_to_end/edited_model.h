#ifndef LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_
#define LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "model/api/model_directory.h"
#include "nlohmann/json.hpp"
#include "tests/end_to_end/processes.h"

namespace leapstream {

// The only source token by which the edited model translates otherwise: it breaks it.
inline constexpr int kPoison = 5999;

// Writes another version of the embedded model to `directory`: another checksum, the same
// translations, and as source kPoison is not a number, on which the server answers INTERNAL.
inline void WriteEditedModel(const std::string& directory) {
  std::filesystem::copy(kEmbeddedModel, directory);
  auto config = ReadModelDirectory(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  config->share_all_embeddings = false;  // Else the poison would be in each of the logits.
  const std::string path = directory + "/" + kWeightsFile;
  std::string file = ReadFile(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  std::string data = file.substr(8 + header_bytes);
  auto decoder = header["encoder.embedding"];
  ASSERT_EQ(decoder["dtype"], "F16");
  const size_t begin = decoder["data_offsets"][0], end = decoder["data_offsets"][1];
  decoder["data_offsets"] = {data.size(), data.size() + (end - begin)};
  header["decoder.embedding"] = decoder;
  data += data.substr(begin, end - begin);
  const uint16_t not_a_number = 0x7e00;
  const size_t row = begin + kPoison * sizeof(not_a_number) * size_t{decoder["shape"][1]};
  std::memcpy(data.data() + row, &not_a_number, sizeof(not_a_number));
  const std::string text = header.dump();
  header_bytes = text.size();
  file.assign(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
  std::ofstream(path, std::ios::binary | std::ios::trunc) << file << text << data;
  const absl::Status written = WriteModelJson(directory, *config);
  ASSERT_TRUE(written.ok()) << written;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_EDITED_MODEL_H_
