#ifndef LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_
#define LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/weights.h"

namespace leapstream {

// The device that LoadOptions::device names.
struct TorchDevice {
  std::string name;  // LibTorch's: "cpu", "cuda:0"; empty: none of them.
  int threads = 1;   // They share the work of a call, on the CPU.
};

// The model in LibTorch operations: see model/torch/torch_translator.h. It lies in a shared library
// of its own, ../lib/leapstream/libleapstream_torch.so beside the program's folder, which is loaded
// here: a program that computes with our own kernels does without LibTorch and the half second that
// loading it takes. UNIMPLEMENTED: see CheckTorchComputes(). FAILED_PRECONDITION: there is no such
// library, it is of another version, or there is no such device.
absl::StatusOr<std::unique_ptr<Translator>> MakeTorchTranslator(const ModelConfig& config,
                                                                Weights& weights,
                                                                const TorchDevice& device);

// Whether a LibTorch device computes such a model, in config.compute_type. UNIMPLEMENTED: it does
// not.
absl::Status CheckTorchComputes(const ModelConfig& config);

// That library exports, with C linkage, under these names: the version that it was built with, a
// string, and a function. The structs that they share are those of one version only.
inline constexpr char kTorchVersion[] = "leapstream_torch_version";
inline constexpr char kTorchFactory[] = "leapstream_make_torch_translator";
using TorchFactory = void(const ModelConfig&, Weights&, const TorchDevice&,
                          absl::StatusOr<std::unique_ptr<Translator>>*);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_
