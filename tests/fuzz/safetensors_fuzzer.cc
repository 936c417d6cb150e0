#include <cstdlib>

#include "model/api/safetensors.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes = FuzzBytes(data, size);
  const auto tensors = ParseSafetensors(bytes, "f.safetensors");
  if (!tensors.ok()) return 0;
  for (const auto& [name, view] : *tensors) {
    int64_t elements = 1;
    for (const int64_t length : view.shape) elements *= length;
    const bool inside = view.bytes.empty() ||
                        (view.bytes.data() >= bytes.data() &&
                         view.bytes.data() + view.bytes.size() <= bytes.data() + bytes.size());
    if (!inside || static_cast<int64_t>(view.bytes.size()) != elements * ElementBytes(view.type)) {
      std::abort();
    }
  }
  return 0;
}
