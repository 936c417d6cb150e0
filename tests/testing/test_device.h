#ifndef LEAPSTREAM_TESTS_TESTING_TEST_DEVICE_H_
#define LEAPSTREAM_TESTS_TESTING_TEST_DEVICE_H_

#include <cstdlib>
#include <memory>
#include <utility>

#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "model/engine/weights.h"

// The device of tests that compare with goldens: leapstream's own kernels, or the one that
// LEAPSTREAM_TEST_DEVICE names, with which leapstream_device_test() runs them once more.
namespace leapstream {

inline LoadOptions OnTestDevice() {
  LoadOptions options;
  if (const char* const device = std::getenv("LEAPSTREAM_TEST_DEVICE")) options.device = device;
  return options;
}

inline absl::StatusOr<std::unique_ptr<Translator>> MakeOnTestDevice(const ModelConfig& config,
                                                                    Weights weights) {
  TorchDevice device;
  const std::string name = OnTestDevice().device;
  if (name != "cpu") device.name = name == "torch-cpu" ? "cpu" : name;
  return MakeTranslator(config, std::move(weights), device);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_TEST_DEVICE_H_
