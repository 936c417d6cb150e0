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

// A family of networks: what its model directories hold, and how a translator is made of one.
struct ModelFamily {
  const char* source;          // The kind of input, for people.
  bool has_source_vocabulary;  // Its directory has a source dictionary and tokenizer.
  // The source tokens, </s> included, or encoder states that a segment may have; 0: no limit.
  int (*max_source_tokens)(const ModelConfig& config);
  std::vector<TensorSpec> (*list_tensors)(const ModelConfig& config);
  absl::StatusOr<std::unique_ptr<Translator>> (*make)(const ModelConfig& config, Weights weights,
                                                      int threads);
};

// The family that a configuration is of.
const ModelFamily& FamilyOf(const ModelConfig& config);

// Makes a translator that computes on the device, with our own kernels if the device has no name.
// `config` is one that ValidateModelConfig() has passed. Errors: those of Weights::Finish() and
// MakeTorchTranslator().
absl::StatusOr<std::unique_ptr<Translator>> MakeTranslator(const ModelConfig& config,
                                                           Weights weights,
                                                           const TorchDevice& device);

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
