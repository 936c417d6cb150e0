#ifndef LEAPSTREAM_MODEL_TORCH_LOAD_MODEL_H_
#define LEAPSTREAM_MODEL_TORCH_LOAD_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/api/model.h"

namespace leapstream {

// Loads a model directory that leapstream-export wrote. Errors: those of ReadModelDirectory(),
// Vocabulary::Load() and Tokenizer::Load(); INVALID_ARGUMENT for weights that do not fit
// model.json; UNIMPLEMENTED for an architecture that is not served yet.
absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const std::string& directory);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_LOAD_MODEL_H_
