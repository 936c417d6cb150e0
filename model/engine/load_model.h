#ifndef LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_
#define LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/model.h"

namespace leapstream {

struct LoadOptions {
  // The type of the weights of products: "float32", "bfloat16" or "int8"; empty: model.json says
  // it. See ComputeType.
  std::string compute_type;
  int intra_op_threads = 1;  // They share the work of a call, the calling one included.
  // "cpu": our own kernels; "torch-cpu", or another device of LibTorch such as "cuda:0": see
  // MakeTorchTranslator().
  std::string device = "cpu";
  std::string name;  // The name for clients; empty: model.json says it.
  // Models that are loaded already. If one of these has the same content, it is given again.
  std::vector<std::shared_ptr<const Model>> loaded;
};

// Loads a model directory that leapstream-export wrote. Errors: those of ReadModelDirectory(),
// Vocabulary::Load(), Tokenizer::Load() and MakeTorchTranslator(); INVALID_ARGUMENT for weights
// that do not fit model.json and for a compute type that there is not.
absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const std::string& directory,
                                                       const LoadOptions& options = {});

// Whether LoadModel() would succeed, as far as that can be told without the weights and on a
// machine without the device.
absl::Status CheckModel(const std::string& directory, const LoadOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_
