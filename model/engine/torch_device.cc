#include "model/engine/torch_device.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "model/engine/attention/kinds.h"

namespace leapstream {

namespace {

bool InLibTorch(absl::string_view kind) {
  const AttentionEntry* const entry = FindAttention(kind);
  return entry != nullptr && entry->in_libtorch;
}

}  // namespace

absl::Status CheckTorchComputes(const ModelConfig& config) {
  const auto unsupported = [](absl::string_view what) {
    return absl::UnimplementedError(
        absl::StrCat("a LibTorch device computes text models with a causal encoder, wait-k or no "
                     "policy, and linear LeaP attention in all blocks; this one has ",
                     what, "; leave device unset for leapstream's own kernels"));
  };
  if (config.compute_type != "float32") {
    return absl::UnimplementedError(absl::StrCat(
        "a LibTorch device computes in float32; set compute_type to float32, which is ",
        config.compute_type, ", or leave device unset"));
  }
  if (config.speech.has_value()) return unsupported("speech for a source");
  if (config.language_model.has_value()) return unsupported("a decoder without an encoder");
  if (!config.causal_encoder) return unsupported("a bidirectional encoder");
  if (config.LearnedPolicy()) return unsupported(absl::StrCat("simul_type ", config.simul_type));
  if (config.cross_normaliser != "linear") {
    return unsupported(absl::StrCat("cross_normaliser ", config.cross_normaliser));
  }
  for (const SideConfig* side : {&config.encoder, &config.decoder}) {
    if (!InLibTorch(side->self_attention)) return unsupported(side->self_attention + " attention");
    for (int l = 0; l < side->layers; ++l) {
      if (side->LayerOf(l) != l) return unsupported("layers that share their parameters");
    }
  }
  if (!InLibTorch(config.decoder.cross_attention)) {
    return unsupported(config.decoder.cross_attention + " cross-attention");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Translator>> MakeTorchTranslator(const ModelConfig& config,
                                                                Weights& weights,
                                                                const TorchDevice& device) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the library of LibTorch's devices is found by /proc/self/exe, which cannot be read: ",
        error.message()));
  }
  const std::string library =
      (program.parent_path().parent_path() / "lib/leapstream/libleapstream_torch.so").string();
  // The library is never closed: its translators may live as long as the program.
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const factory = handle != nullptr ? dlsym(handle, kTorchFactory) : nullptr;
  const void* const version = factory != nullptr ? dlsym(handle, kTorchVersion) : nullptr;
  if (version == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "LibTorch's device ", device.name, " needs LibTorch and leapstream's library for it: ",
        dlerror(), "; install them, or leave device unset for leapstream's own kernels"));
  }
  if (absl::string_view(static_cast<const char*>(version)) != LEAPSTREAM_VERSION) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " is of version ", static_cast<const char*>(version),
                     ", and this program of " LEAPSTREAM_VERSION "; install both from one build"));
  }
  absl::StatusOr<std::unique_ptr<Translator>> translator = absl::UnknownError("");
  reinterpret_cast<TorchFactory*>(factory)(config, weights, device, &translator);
  return translator;
}

}  // namespace leapstream
