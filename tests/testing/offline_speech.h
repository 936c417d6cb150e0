#ifndef LEAPSTREAM_TESTS_TESTING_OFFLINE_SPEECH_H_
#define LEAPSTREAM_TESTS_TESTING_OFFLINE_SPEECH_H_

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"
#include "model/fairseq/export.h"
#include "tests/testing/test_device.h"
#include "tests/testing/wav_file.h"

// The golden checkpoints of speech that were trained offline
// (tests/golden/offline_speech/README.md). LEAPSTREAM_OFFLINE_SPEECH names another folder of the same form.
namespace leapstream {

inline std::string OfflineSpeechPath(const std::string& path) {
  const char* const folder = std::getenv("LEAPSTREAM_OFFLINE_SPEECH");
  const std::string own = absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/offline_speech");
  return absl::StrCat(folder != nullptr ? folder : own, "/", path);
}

inline std::vector<nlohmann::json> JsonLines(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

inline std::vector<std::string> OfflineSpeechModels() {
  std::vector<std::string> names;
  std::ifstream file(OfflineSpeechPath("models.json"));
  for (const nlohmann::json& model : nlohmann::json::parse(file)) names.push_back(model["name"]);
  return names;
}

inline nlohmann::json OfflineSpeechRow(const std::string& name) {
  std::ifstream file(OfflineSpeechPath("models.json"));
  for (const nlohmann::json& model : nlohmann::json::parse(file)) {
    if (model["name"] == name) return model;
  }
  ADD_FAILURE() << name;
  return {};
}

inline ExportOptions OfflineSpeechExport(const std::string& name) {
  ExportOptions options;
  const nlohmann::json model = OfflineSpeechRow(name);
  options.checkpoints = {OfflineSpeechPath(model["file"])};
  options.config_yaml = OfflineSpeechPath(model["config"]);
  options.source_language = "en";
  options.target_language = "de";
  options.output =
      absl::StrCat(::testing::TempDir(), "/leapstream-offline-speech-", name, ".", getpid());
  return options;
}

// Exports a model, once per process. The yaml names its dictionary and its SentencePiece model.
inline std::string ExportedOfflineSpeech(const std::string& name) {
  static auto* const done = new std::map<std::string, std::string>();
  std::string& directory = (*done)[name];
  if (!directory.empty()) return directory;
  const ExportOptions options = OfflineSpeechExport(name);
  EXPECT_TRUE(ExportModel(options).ok()) << ExportModel(options);
  return directory = options.output;
}

inline std::shared_ptr<const Model> LoadedOfflineSpeech(const std::string& name) {
  auto model = LoadModel(ExportedOfflineSpeech(name), OnTestDevice());
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

inline std::vector<float> SamplesOf(const nlohmann::json& row) {
  return ReadSamples(OfflineSpeechPath(row["wav"].get<std::string>()));
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_OFFLINE_SPEECH_H_
