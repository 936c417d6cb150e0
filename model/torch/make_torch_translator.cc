#include "model/torch/make_torch_translator.h"

#include <dlfcn.h>

#include <exception>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/engine/decoder_only.h"
#include "model/engine/parameters.h"
#include "model/torch/torch_call.h"
#include "model/torch/torch_text_network.h"
#include "model/torch/torch_transformer.h"

namespace leapstream {
namespace {

at::ScalarType TypeOf(const std::string& compute_type) {
  if (compute_type == "bfloat16") return at::kBFloat16;
  return compute_type == "float16" ? at::kHalf : at::kFloat;
}

// Whether the device computes and returns its result, in this type.
absl::Status TryDevice(const std::string& name, const std::string& compute_type) {
  try {
    c10::InferenceMode guard;
    const at::Tensor ones =
        at::ones({1, 1}, at::device(c10::Device(name)).dtype(TypeOf(compute_type)));
    at::linear(ones, ones).item<float>();
    return absl::OkStatus();
  } catch (const std::exception& e) {  // A device may fail to start with any error.
    // Only the beginning is kept: the rest lists everything that LibTorch was built with.
    const std::string why = std::string(e.what()).substr(0, 100);
    return absl::FailedPreconditionError(absl::StrCat(
        "LibTorch cannot use device ", name, " in ", compute_type, " (",
        why.substr(0, why.find('\n')), "...); leave device unset for leapstream's own kernels"));
  }
}

// OpenBLAS, which Debian's LibTorch has its products from, has threads of its own: as many as
// processors.
void UseBlasThreads(int threads) {
  using SetThreads = void(int);
  if (void* const set = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<SetThreads*>(set)(threads);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Translator>> TranslatorOnDevice(const ModelConfig& config,
                                                               Weights& weights,
                                                               const TorchDevice& device) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckTorchComputes(config));
  LEAPSTREAM_RETURN_IF_ERROR(TryDevice(device.name, config.compute_type));
  UseBlasThreads(device.threads);
  std::unique_ptr<Translator> translator;
  LEAPSTREAM_RETURN_IF_ERROR(TorchCall("loading a model", device.threads, [&]() -> absl::Status {
    auto context = std::make_shared<TorchContext>(c10::Device(device.name), device.threads,
                                                  TypeOf(config.compute_type));
    TorchTransformer::Parts parts;
    parts.config = std::make_unique<const ModelConfig>(config);
    parts.observer = std::make_unique<const RowObserver>();
    if (!config.language_model.has_value()) {
      parts.reader =
          std::make_unique<const SourceReader>(Parameters(weights), *parts.config, *parts.observer);
    }
    parts.context = context;
    const TorchParameters parameters(config, weights, context);
    LEAPSTREAM_RETURN_IF_ERROR(weights.Finish());
    if (config.language_model.has_value()) {
      auto network = std::make_unique<const TorchTextNetwork>(parameters, std::move(parts.config),
                                                              std::move(context));
      translator = std::make_unique<DecoderOnly>(config, std::move(network), device.threads);
    } else {
      translator = std::make_unique<TorchTransformer>(std::move(parts), parameters);
    }
    return absl::OkStatus();
  }));
  return translator;
}

}  // namespace leapstream
