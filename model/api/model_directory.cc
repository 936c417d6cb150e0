#include "model/api/model_directory.h"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/model_json.h"

namespace leapstream {
namespace {

constexpr int64_t kMaxModelJsonBytes = 1 << 20;
constexpr const char* kFiles[] = {kWeightsFile,
                                  "weights.2.safetensors",
                                  "weights.3.safetensors",
                                  "weights.4.safetensors",
                                  "weights.5.safetensors",
                                  "weights.6.safetensors",
                                  "weights.7.safetensors",
                                  "weights.8.safetensors",
                                  kSourceDictionaryFile,
                                  kTargetDictionaryFile,
                                  kSourceSentencePieceFile,
                                  kTargetSentencePieceFile,
                                  kSourceBpeCodesFile,
                                  kSourceBpeVocabularyFile,
                                  kSourcePrefixesFile};

bool IsWeightsFile(absl::string_view name) { return absl::EndsWith(name, ".safetensors"); }

absl::Status Prefix(absl::string_view path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::Status CheckHash(absl::string_view path, absl::string_view found,
                       const std::string& recorded) {
  if (found == recorded) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": its SHA-256 is ", found, ", ", kModelJson, " has ",
                   absl::CHexEscape(recorded.substr(0, 64)), "; the file was changed or damaged"));
}

// Reads the files that `config` records, and opens the weights.
absl::Status ReadRecorded(const std::string& directory, const ModelConfig& config,
                          int64_t max_weights_bytes, ModelFiles* files) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  for (int member = 1; member <= config.ensemble; ++member) {
    const std::string name = WeightsFileName(member);
    if (config.sha256.count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": field sha256 needs an entry for ", name));
    }
    auto weights = FileReader::Open(absl::StrCat(directory, "/", name), max_weights_bytes);
    if (!weights.ok()) return absl::FailedPreconditionError(weights.status().message());
    files->weights.push_back(*std::move(weights));
  }
  const auto weights = std::count_if(config.sha256.begin(), config.sha256.end(),
                                     [](const auto& file) { return IsWeightsFile(file.first); });
  if (weights > config.ensemble) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": field sha256 names ", weights,
                                                   " files of weights, but field ensemble is ",
                                                   config.ensemble));
  }
  for (const auto& [name, recorded] : config.sha256) {
    if (!absl::c_linear_search(kFiles, absl::string_view(name))) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": field sha256 names ", Quoted(name),
                                                     ", which is no file of a model"));
    }
    const std::string file_path = absl::StrCat(directory, "/", name);
    if (IsWeightsFile(name)) continue;
    auto file = FileBytes::Read(file_path, kMaxTextFileBytes);
    if (!file.ok()) return absl::FailedPreconditionError(file.status().message());
    const std::string found = Sha256OfBytes((*file)->bytes());
    files->bytes[name] = *std::move(file);
    LEAPSTREAM_RETURN_IF_ERROR(CheckHash(file_path, found, recorded));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelFiles(const std::string& directory, NetworkCheck check,
                                           ModelFiles* files) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  auto read = FileBytes::Read(path, kMaxModelJsonBytes);
  if (!read.ok()) {  // Somebody may have named a checkpoint, or its folder.
    return absl::Status(read.status().code(),
                        absl::StrCat(read.status().message(),
                                     "; a model is a directory that leapstream-export makes of a "
                                     "checkpoint"));
  }
  const std::shared_ptr<FileBytes> json = files->bytes[kModelJson] = *std::move(read);
  absl::StatusOr<ModelConfig> config = ParseModelJson(json->bytes());
  if (!config.ok()) return Prefix(path, config.status());
  if (absl::Status valid = CheckModelFields(*config); !valid.ok()) return Prefix(path, valid);
  const absl::StatusOr<int64_t> max_weights_bytes = check(*config);
  if (!max_weights_bytes.ok()) return Prefix(path, max_weights_bytes.status());
  LEAPSTREAM_RETURN_IF_ERROR(ReadRecorded(directory, *config, *max_weights_bytes, files));
  return config;
}

std::string WeightsFileName(int member) {
  return member == 1 ? kWeightsFile : absl::StrCat("weights.", member, ".safetensors");
}

absl::Status CheckWeightsFile(const ModelConfig& config, int member, const FileReader& weights) {
  const absl::StatusOr<std::string> found = weights.Sha256();
  if (!found.ok()) return absl::FailedPreconditionError(found.status().message());
  return CheckHash(weights.path(), *found, config.sha256.at(WeightsFileName(member)));
}

absl::Status WriteModelJson(const std::string& directory, ModelConfig config) {
  config.sha256.clear();
  for (const char* name : kFiles) {
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

absl::Status ReplaceModelJson(const std::string& directory, const ModelConfig& config) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  const auto failed = [&] {
    return absl::InternalError(absl::StrCat(path, ": cannot be written: ", std::strerror(errno),
                                            "; copy the model to a directory that can be"));
  };
  std::string temporary = path + ".XXXXXX";
  const int descriptor = mkstemp(temporary.data());
  if (descriptor < 0) return failed();
  close(descriptor);
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << ModelJson(config);
  file.close();
  chmod(temporary.c_str(), 0644);  // mkstemp() lets only the owner read.
  if (file && std::rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const absl::Status status = failed();
  unlink(temporary.c_str());
  return status;
}

absl::Span<const char* const> ModelFileNames() { return kFiles; }

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(
      const auto file, FileReader::Open(path, std::numeric_limits<int64_t>::max()));
  return file->Sha256();
}

std::string Sha256OfBytes(absl::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LEAPSTREAM_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) ==
                   1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace leapstream
