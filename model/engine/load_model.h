#ifndef LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_
#define LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/model.h"

namespace leapstream {

struct LoadOptions {
  // The type of the weights of products: "float32", "bfloat16" or "int8"; empty: the one in
  // model.json. See ComputeType.
  std::string compute_type;
  // The type of the sums that states of linear attention are: "float32", or "float16", which is
  // half the size; empty: the one in model.json. See SimdKernels.
  std::string state_type;
  int intra_op_threads = 1;  // The threads that share the work of a call, the calling one included.
  // The device that computes. "cpu": leapstream's own kernels. "torch-cpu", or another device of
  // LibTorch such as "cuda:0": see MakeTorchTranslator().
  std::string device = "cpu";
  std::string name;  // The name for clients; empty: the one in model.json.
  // With leapstream's own kernels, a weights file of at least so many bytes is packed once, into a
  // file beside it (see packed_file.h). Smaller ones are packed in about the time that it takes to
  // read them.
  int64_t packed_from_bytes = 256 << 20;
  // Models that are loaded already. If one of these has the same content, it is returned again.
  std::vector<std::shared_ptr<const Model>> loaded;
};

// Loads a model directory that leapstream-export wrote. Errors: those of ReadModelDirectory(),
// Vocabulary::Load(), Tokenizer::Load(), CheckPieces() and MakeTorchTranslator(). INVALID_ARGUMENT:
// the weights do not fit model.json, or there is no such compute type.
absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const std::string& directory,
                                                       const LoadOptions& options = {});

// Makes the checks of LoadModel() that need neither the values of the weights nor the device.
// Errors: those of LoadModel().
absl::Status CheckModel(const std::string& directory, const LoadOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_LOAD_MODEL_H_
