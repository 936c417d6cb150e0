#include <cstdlib>

#include "model/huggingface/model_card.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ModelCard card = ParseModelCard(FuzzBytes(data, size));
  if (card.license.find('\n') != std::string::npos) std::abort();
  return 0;
}
