#include <cstdlib>

#include "model/huggingface/folder_tensors.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto shards = ParseShardIndex(FuzzBytes(data, size), "index.json");
  if (!shards.ok()) return 0;
  for (const auto& shard : *shards) {
    if (shard.first.empty() || shard.first.find('/') != std::string::npos || shard.first == "..") {
      std::abort();
    }
  }
  return 0;
}
