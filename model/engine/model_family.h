#ifndef LEAPSTREAM_MODEL_ENGINE_MODEL_FAMILY_H_
#define LEAPSTREAM_MODEL_ENGINE_MODEL_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/model_directory.h"
#include "model/api/translator.h"
#include "model/engine/weights.h"

namespace leapstream {

// INVALID_ARGUMENT: no network can be of this configuration: see CheckModelFields() and
// CheckAttentionKinds().
absl::Status ValidateModelConfig(const ModelConfig& config);

// All tensors that a model of this configuration has, and no others: what its layers take when it
// is made. `config` is one that ValidateModelConfig() has passed.
std::vector<TensorSpec> ListTensors(const ModelConfig& config);

// Reads a model directory's model.json, with a configuration that is valid, and checks the files
// that it records. Errors: see ReadModelFiles() and ValidateModelConfig().
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory);
// The same, and gives what it read.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_MODEL_FAMILY_H_
