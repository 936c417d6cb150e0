#ifndef LEAPSTREAM_MODEL_API_MODEL_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_MODEL_TOKENIZER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/api/file_bytes.h"
#include "model/api/model_config.h"
#include "model/api/tokenizer.h"

namespace leapstream {

enum class ModelSide { kSource, kTarget };

// Makes a side's tokenizer of the files of the model directory `directory`. Errors: those of
// Tokenizer::Create(). FAILED_PRECONDITION: a file that the configuration asks for is not there.
absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeTokenizer(const ModelConfig& config,
                                                               ModelSide side,
                                                               const std::string& directory,
                                                               const ModelFiles& files);

// The name of the file with the side's SentencePiece model or BPE codes; empty: it has neither.
std::string PiecesFile(const ModelConfig& config, ModelSide side);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_TOKENIZER_H_
