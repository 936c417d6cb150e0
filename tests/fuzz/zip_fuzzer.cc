#include <string>

#include "model/torchfile/zip_archive.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto archive = ZipArchive::Parse(FuzzBytes(data, size), "f.pt");
  if (!archive.ok()) return 0;
  const auto folder = archive->TorchFolder();
  const std::string prefix = folder.ok() ? *folder : "archive";
  for (const char* entry : {"/data.pkl", "/version", "/byteorder", "/data/0", "/data/1"}) {
    const auto bytes = archive->Read(prefix + entry);
    if (bytes.ok() && !bytes->empty()) {
      volatile char touched = bytes->front();
      touched = bytes->back();
      (void)touched;
    }
  }
  return 0;
}
