#ifndef LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/file_bytes.h"
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
inline constexpr const char* kModelFiles[] = {
    kWeightsFile,        kSourceDictionaryFile,    kTargetDictionaryFile, kSourceSentencePieceFile,
    kTargetSentencePieceFile, kSourceBpeCodesFile, kSourceBpeVocabularyFile, kSourcePrefixesFile};

// A function of the engine, which knows networks. It checks a configuration further than
// CheckModelFields() does, and returns the most bytes that the weights file may have.
using NetworkCheck = absl::FunctionRef<absl::StatusOr<int64_t>(const ModelConfig&)>;

// Reads DIR/model.json and the files that it records, into *files: the same bytes whose SHA-256 was
// checked. NOT_FOUND: there is no model.json; INVALID_ARGUMENT: see ParseModelJson(),
// CheckModelFields() and `check`; FAILED_PRECONDITION: a recorded file cannot be read, or its
// SHA-256 is not the one recorded.
absl::StatusOr<ModelConfig> ReadModelFiles(const std::string& directory, NetworkCheck check,
                                           ModelFiles* files);
// Writes DIR/model.json; fills `sha256` from the files that lie there already.
absl::Status WriteModelJson(const std::string& directory, ModelConfig config);

// The file's SHA-256 in lower-case hex. NOT_FOUND: it cannot be read; INVALID_ARGUMENT: it is not a
// regular file; RESOURCE_EXHAUSTED: there is no memory for it.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);
std::string Sha256OfBytes(absl::string_view bytes);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
