#ifndef LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_
#define LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/api/model_directory.h"
#include "model/api/translator.h"
#include "model/engine/weights.h"

namespace leapstream {

// What LoadOptions::device says.
struct TorchDevice {
  std::string name;  // LibTorch's: "cpu", "cuda:0".
  int threads = 1;   // Of LibTorch, on the CPU.
};

// The model in LibTorch operations: see model/torch/torch_translator.h. It lies in a shared library
// of its own, ../lib/leapstream/libleapstream_torch.so beside the program's folder, which is loaded
// here: a program that computes with our own kernels does without LibTorch and the half second that
// loading it takes. FAILED_PRECONDITION: there is no such library or device; UNIMPLEMENTED: it
// cannot compute this model.
absl::StatusOr<std::unique_ptr<Translator>> MakeTorchTranslator(const ModelConfig& config,
                                                                const Weights& weights,
                                                                const TorchDevice& device);

// What that library exports, with C linkage, under this name.
inline constexpr char kTorchFactory[] = "leapstream_make_torch_translator";
using TorchFactory = void(const ModelConfig&, const Weights&, const TorchDevice&,
                          absl::StatusOr<std::unique_ptr<Translator>>*);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_
