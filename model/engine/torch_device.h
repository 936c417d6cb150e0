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
  std::string name;  // LibTorch's name, such as "cpu" or "cuda:0"; empty: no device of LibTorch.
  int threads = 1;   // The CPU threads that share the work of a call.
};

// Makes a model of LibTorch operations: see model/torch/torch_transformer.h. Its code is in a shared
// library of its own, ../lib/leapstream/libleapstream_torch.so beside the program's folder, which
// this function loads. So a program that computes with leapstream's own kernels does without
// LibTorch and the half second that loading it takes. UNIMPLEMENTED: see CheckTorchComputes().
// FAILED_PRECONDITION: there is no such library, it is of another version, or there is no such
// device.
absl::StatusOr<std::unique_ptr<Translator>> MakeTorchTranslator(const ModelConfig& config,
                                                                Weights& weights,
                                                                const TorchDevice& device);

// Checks that a LibTorch device can compute such a model in config.compute_type. UNIMPLEMENTED: it
// cannot.
absl::Status CheckTorchComputes(const ModelConfig& config);

// The names that libleapstream_torch.so exports with C linkage: the version that it was built with,
// a string, and a TorchFactory. Library and program share structs, so both must be of one version.
inline constexpr char kTorchVersion[] = "leapstream_torch_version";
inline constexpr char kTorchFactory[] = "leapstream_make_torch_translator";
using TorchFactory = void(const ModelConfig&, Weights&, const TorchDevice&,
                          absl::StatusOr<std::unique_ptr<Translator>>*);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TORCH_DEVICE_H_
