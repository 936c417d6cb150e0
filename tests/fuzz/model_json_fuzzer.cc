#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "model/engine/model_family.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

namespace {

// A folder of this process, which is removed when the process ends.
class Folder {
 public:
  Folder() : path_("/dev/shm/leapstream_fuzz.XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Folder() {
    std::remove((path_ + "/model.json").c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::string path = folder.path() + "/model.json";
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) {
    std::abort();
  }
  const auto config = ReadModelDirectory(folder.path());
  if (config.ok()) (void)ListTensors(*config);
  return 0;
}
