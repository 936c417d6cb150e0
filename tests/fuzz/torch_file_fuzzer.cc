// Checks that both formats of a torch file are read without harm, and a tensor in parts as whole.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "model/torchfile/torch_file.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

namespace {

void ReadAllOf(const TorchFile& file, ValueId dict, int64_t size) {
  const auto tensors = file.Tensors(dict, "the file");
  if (!tensors.ok()) return;
  for (const auto& [name, tensor] : *tensors) {
    (void)file.NumberText(tensor);
    const int64_t count = ElementsOf(tensor);
    if (count > tensor.storage.elements || count > size) continue;
    std::vector<float> whole(count);
    if (!file.Read(tensor, name, 0, absl::MakeSpan(whole)).ok()) continue;
    for (int64_t first = 0; first < count; first += 3) {
      std::vector<float> part(std::min<int64_t>(3, count - first));
      if (!file.Read(tensor, name, first, absl::MakeSpan(part)).ok() ||
          !std::equal(part.begin(), part.end(), whole.begin() + first)) {
        std::abort();
      }
    }
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = TorchFile::Parse(FuzzBytes(data, size), "f.pt");
  if (!file.ok()) return 0;
  const Pickle& pickle = file->pickle();
  ReadAllOf(*file, pickle.root(), size);
  ReadAllOf(*file, pickle.Find(pickle.root(), "model"), size);
  return 0;
}
