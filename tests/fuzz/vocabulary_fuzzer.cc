#include <cstdlib>

#include "model/api/vocabulary.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto vocabulary = Vocabulary::Parse(FuzzBytes(data, size), "dict.txt");
  if (!vocabulary.ok()) return 0;
  for (TokenId id = 0; id < vocabulary->size(); ++id) {
    const TokenId found = vocabulary->Id(vocabulary->Symbol(id));
    if (found < 0 || found >= vocabulary->size()) std::abort();
  }
  return 0;
}
