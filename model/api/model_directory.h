#ifndef LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/file_bytes.h"
#include "model/api/file_reader.h"
#include "model/api/model_config.h"

namespace leapstream {

// The files of a model directory, beside model.json.
inline constexpr char kModelJson[] = "model.json";
inline constexpr char kWeightsFile[] = "weights.safetensors";
inline constexpr char kSourceDictionaryFile[] = "source.dict.txt";
inline constexpr char kTargetDictionaryFile[] = "target.dict.txt";
inline constexpr char kSourceSentencePieceFile[] = "source.spm.model";
inline constexpr char kTargetSentencePieceFile[] = "target.spm.model";
inline constexpr char kSourceBpeCodesFile[] = "source.bpe.codes";
inline constexpr char kSourceBpeVocabularyFile[] = "source.bpe.vocab";
inline constexpr char kSourcePrefixesFile[] = "source.prefixes.txt";

// The weights of network `member` (from 1) of an ensemble: weights.safetensors,
// weights.2.safetensors, and so on. A model of one network has the first alone.
std::string WeightsFileName(int member);
// The names of all files that a model directory may have beside model.json.
absl::Span<const char* const> ModelFileNames();
// The beginning of the names of further files that programs leave there; see engine/packed_file.h.
inline constexpr char kPackedPrefix[] = "packed.";

// A function of the engine, which knows networks. It checks a configuration further than
// CheckModelFields() does, and returns the most bytes that the weights file may have.
using NetworkCheck = absl::FunctionRef<absl::StatusOr<int64_t>(const ModelConfig&)>;

// The files of a model directory.
struct ModelFiles {
  std::map<std::string, std::shared_ptr<FileBytes>> bytes;  // All but the weights, by name.
  std::vector<std::shared_ptr<const FileReader>> weights;  // Of each network, in order.
};

// Reads DIR/model.json and the files that it records, into *files: the same bytes whose SHA-256 was
// checked. The weights files, which may be larger than the memory, are only opened: see
// CheckWeightsFile(). NOT_FOUND: there is no model.json; INVALID_ARGUMENT: see ParseModelJson(),
// CheckModelFields() and `check`; FAILED_PRECONDITION: a recorded file cannot be read, or its
// SHA-256 is not the one recorded.
absl::StatusOr<ModelConfig> ReadModelFiles(const std::string& directory, NetworkCheck check,
                                           ModelFiles* files);
// Reads the whole weights file of network `member` (from 1) and checks its SHA-256.
// FAILED_PRECONDITION: it cannot be read, or its SHA-256 is not the one that `config` records.
absl::Status CheckWeightsFile(const ModelConfig& config, int member, const FileReader& weights);
// Writes DIR/model.json; fills `sha256` from the files that lie there already.
absl::Status WriteModelJson(const std::string& directory, ModelConfig config);
// Puts another model.json into the place of the one that is there, of the same files: nobody sees a
// part of it. INTERNAL: it cannot be written; then the old one is as it was.
absl::Status ReplaceModelJson(const std::string& directory, const ModelConfig& config);

// The file's SHA-256 in lower-case hex. NOT_FOUND: it cannot be read; INVALID_ARGUMENT: it is not a
// regular file.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);
std::string Sha256OfBytes(absl::string_view bytes);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
