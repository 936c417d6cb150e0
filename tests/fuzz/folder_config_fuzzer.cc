#include <cstdlib>

#include "model/huggingface/folder_config.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

// The parts are config.json, tokenizer_config.json, generation_config.json, added_tokens.json and
// special_tokens_map.json.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FolderFiles files;
  Json* const objects[] = {&files.config, &files.tokenizer, &files.generation, &files.added,
                           &files.special};
  for (Json* object : objects) *object = Json::object();
  const std::vector<std::string> parts = FuzzParts(FuzzBytes(data, size));
  for (size_t i = 0; i < parts.size() && i < std::size(objects); ++i) {
    auto json = ParseJsonObject(parts[i], "part");
    if (!json.ok()) return 0;
    *objects[i] = *std::move(json);
  }
  const auto config = ReadFolderConfig(files);
  if (!config.ok() && config.status().message().empty()) std::abort();
  return 0;
}
