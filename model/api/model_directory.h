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

// The knowledge of networks that reading a model directory needs: checks a configuration further
// than CheckModelFields() does, and gives the most bytes that its weights file may have.
using NetworkCheck = absl::FunctionRef<absl::StatusOr<int64_t>(const ModelConfig&)>;

// Reads DIR/model.json and the files that it records, and gives what it read, each file as it was
// when its SHA-256 was taken. NOT_FOUND: no such file; INVALID_ARGUMENT: see ParseModelJson(),
// CheckModelFields() and `check`; FAILED_PRECONDITION: a file's sha256 is not the one recorded.
absl::StatusOr<ModelConfig> ReadModelFiles(const std::string& directory, NetworkCheck check,
                                           ModelFiles* files);
// Writes DIR/model.json; fills `sha256` from the files that lie there already.
absl::Status WriteModelJson(const std::string& directory, ModelConfig config);

// Lower-case hex of the file's SHA-256. NOT_FOUND: it cannot be read.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);
std::string Sha256OfBytes(absl::string_view bytes);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
