#include "model/engine/torch_device.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leapstream {

absl::Status CheckTorchComputes(const ModelConfig& config) {
  const std::string& type = config.compute_type;
  if (type != "float32" && type != "bfloat16" && type != "float16") {
    return absl::UnimplementedError(
        absl::StrCat("a LibTorch device computes in float32, bfloat16 or float16; set compute_type "
                     "to one of these, which is ",
                     type, ", or leave device unset"));
  }
  if (config.state_type != "float32") {
    return absl::UnimplementedError(
        absl::StrCat("a LibTorch device keeps states in float32; set state_type to that, which is ",
                     config.state_type, ", or leave device unset"));
  }
  for (const SideConfig* side : {&config.encoder, &config.decoder}) {
    // The layers of a bidirectional encoder have no past that they could share.
    if (side == &config.encoder && !config.causal_encoder) continue;
    for (int l = 0; l < side->layers; ++l) {
      if (side->LayerOf(l) == l) continue;
      return absl::UnimplementedError(
          "a LibTorch device computes layers that have a past of their own; layers of this model "
          "share "
          "their parameters, and with them their past; leave device unset for leapstream's own "
          "kernels");
    }
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
