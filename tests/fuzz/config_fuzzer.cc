#include "server/config/config.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ServerConfig config;
  if (ApplyYaml(FuzzBytes(data, size), "server.yaml", &config).ok()) (void)CheckConfig(config);
  return 0;
}
