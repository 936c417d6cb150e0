#include <cstdlib>

#include "model/api/vocabulary.h"
#include "model/huggingface/folder_vocabulary.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto symbols = ParseVocabularyJson(FuzzBytes(data, size), "vocab.json");
  if (!symbols.ok()) return 0;
  const auto text = DictionaryText(*symbols);
  if (!text.ok()) return 0;
  const auto vocabulary = Vocabulary::Parse(*text, "dict.txt");
  if (!vocabulary.ok() || (symbols->size() >= 4 &&
                           vocabulary->size() != static_cast<int>(symbols->size()))) {
    std::abort();
  }
  return 0;
}
