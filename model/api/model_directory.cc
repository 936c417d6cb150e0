#include "model/api/model_directory.h"

#include <openssl/evp.h>

#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "model/api/model_json.h"

namespace leapstream {
namespace {

constexpr int64_t kMaxModelJsonBytes = 1 << 20;

absl::Status Prefix(absl::string_view path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

// Reads the files that `config` records.
absl::Status ReadRecorded(const std::string& directory, const ModelConfig& config,
                          int64_t max_weights_bytes, ModelFiles* files) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  if (config.sha256.count(kWeightsFile) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": field sha256 needs an entry for ", kWeightsFile));
  }
  for (const auto& [name, recorded] : config.sha256) {
    if (!absl::c_linear_search(kModelFiles, absl::string_view(name))) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": field sha256 names `",
                                                     absl::CHexEscape(name.substr(0, 100)),
                                                     "`, which is no file of a model"));
    }
    const std::string file_path = absl::StrCat(directory, "/", name);
    auto file = FileBytes::Read(
        file_path, name == kWeightsFile ? max_weights_bytes : kMaxTextFileBytes);
    if (!file.ok()) return absl::FailedPreconditionError(file.status().message());
    const std::string found = Sha256OfBytes((*file)->bytes());
    (*files)[name] = *std::move(file);
    if (found != recorded) {
      return absl::FailedPreconditionError(absl::StrCat(
          file_path, ": its SHA-256 is ", found, ", ", kModelJson, " has ",
          absl::CHexEscape(recorded.substr(0, 64)), "; the file was changed or damaged"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelFiles(const std::string& directory, NetworkCheck check,
                                           ModelFiles* files) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  LEAPSTREAM_ASSIGN_OR_RETURN((*files)[kModelJson], FileBytes::Read(path, kMaxModelJsonBytes));
  absl::StatusOr<ModelConfig> config = ParseModelJson((*files)[kModelJson]->bytes());
  if (!config.ok()) return Prefix(path, config.status());
  if (absl::Status valid = CheckModelFields(*config); !valid.ok()) return Prefix(path, valid);
  const absl::StatusOr<int64_t> max_weights_bytes = check(*config);
  if (!max_weights_bytes.ok()) return Prefix(path, max_weights_bytes.status());
  LEAPSTREAM_RETURN_IF_ERROR(ReadRecorded(directory, *config, *max_weights_bytes, files));
  return config;
}

absl::Status WriteModelJson(const std::string& directory, ModelConfig config) {
  config.sha256.clear();
  for (const char* name : kModelFiles) {
    auto hash = Sha256OfFile(absl::StrCat(directory, "/", name));
    if (absl::IsNotFound(hash.status())) continue;
    if (!hash.ok()) return hash.status();
    config.sha256[name] = *std::move(hash);
  }
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << ModelJson(config);
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(
      const auto file, FileBytes::Read(path, std::numeric_limits<int64_t>::max()));
  return Sha256OfBytes(file->bytes());
}

std::string Sha256OfBytes(absl::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LEAPSTREAM_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) ==
                   1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace leapstream
