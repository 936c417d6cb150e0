#include "model/torchfile/pickle.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto pickle = Pickle::Parse(FuzzBytes(data, size), "data.pkl");
  if (!pickle.ok()) return 0;
  const ValueId fields = pickle->Fields(pickle->root());
  (void)pickle->Find(fields, "model");
  return 0;
}
