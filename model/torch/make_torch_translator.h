#ifndef LEAPSTREAM_MODEL_TORCH_MAKE_TORCH_TRANSLATOR_H_
#define LEAPSTREAM_MODEL_TORCH_MAKE_TORCH_TRANSLATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/torch_device.h"
#include "model/engine/weights.h"

namespace leapstream {

// The translator of a model on a device of LibTorch. UNIMPLEMENTED: see CheckTorchComputes().
// FAILED_PRECONDITION: there is no such device. INVALID_ARGUMENT: see Weights::Finish().
absl::StatusOr<std::unique_ptr<Translator>> TranslatorOnDevice(const ModelConfig& config,
                                                               Weights& weights,
                                                               const TorchDevice& device);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_MAKE_TORCH_TRANSLATOR_H_
