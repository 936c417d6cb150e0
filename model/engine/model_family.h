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
#include "model/engine/torch_device.h"
#include "model/engine/weights.h"

namespace leapstream {

// A family of networks: the contents of its model directories, and the functions that make a
// translator of one.
struct ModelFamily {
  const char* source;          // The kind of input, for people.
  bool has_source_vocabulary;  // A model directory has a source dictionary and tokenizer.
  // The most source tokens, </s> included, or encoder states of a segment; 0: no limit.
  int (*max_source_tokens)(const ModelConfig& config);
  std::vector<TensorSpec> (*list_tensors)(const ModelConfig& config);
  absl::StatusOr<std::unique_ptr<Translator>> (*make)(const ModelConfig& config, Weights weights,
                                                      int threads);
};

// The family of a configuration.
const ModelFamily& FamilyOf(const ModelConfig& config);

// Makes a translator that computes on the device, or with leapstream's own kernels if the device
// has no name. `config` must have passed ValidateModelConfig(). Errors: those of Weights::Finish()
// and MakeTorchTranslator().
absl::StatusOr<std::unique_ptr<Translator>> MakeTranslator(const ModelConfig& config,
                                                           Weights weights,
                                                           const TorchDevice& device);

// Checks that a network of this configuration can be. INVALID_ARGUMENT: see CheckModelFields() and
// CheckAttentionKinds().
absl::Status ValidateModelConfig(const ModelConfig& config);

// All tensors of a model of this configuration, and no others: the tensors that its layers take
// when they are made. `config` must have passed ValidateModelConfig().
std::vector<TensorSpec> ListTensors(const ModelConfig& config);

// Reads a model directory's model.json, and checks its configuration and the files that it records.
// Errors: see ReadModelFiles(), CheckWeightsFile() and ValidateModelConfig().
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory);
// ReadModelDirectory() that also gives the files that it read, and leaves CheckWeightsFile() to the
// caller.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_MODEL_FAMILY_H_
