// The exports of libleapstream_torch.so: see model/engine/torch_device.h.
#include <memory>
#include <utility>

#include "model/engine/torch_device.h"
#include "model/torch/make_torch_translator.h"

extern "C" __attribute__((visibility("default"))) const char leapstream_torch_version[] =
    LEAPSTREAM_VERSION;

extern "C" __attribute__((visibility("default"))) void leapstream_make_torch_translator(
    const leapstream::ModelConfig& config, leapstream::Weights& weights,
    const leapstream::TorchDevice& device,
    absl::StatusOr<std::unique_ptr<leapstream::Translator>>* result) {
  *result = leapstream::TranslatorOnDevice(config, weights, device);
}
