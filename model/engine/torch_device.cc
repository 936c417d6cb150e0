#include "model/engine/torch_device.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<Translator>> MakeTorchTranslator(const ModelConfig& config,
                                                                const Weights& weights,
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
  // Never closed: its translators may live as long as the program.
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const factory = handle != nullptr ? dlsym(handle, kTorchFactory) : nullptr;
  if (factory == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "LibTorch's device ", device.name, " needs LibTorch and leapstream's library for it: ",
        dlerror(), "; install them, or leave device unset for leapstream's own kernels"));
  }
  absl::StatusOr<std::unique_ptr<Translator>> translator = absl::UnknownError("");
  reinterpret_cast<TorchFactory*>(factory)(config, weights, device, &translator);
  return translator;
}

}  // namespace leapstream
