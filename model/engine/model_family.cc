#include "model/engine/model_family.h"

#include <limits>
#include <utility>

#include "base/status.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/transformer.h"

namespace leapstream {
namespace {

// What weights of this configuration may have at most, in float32, with their header.
int64_t MaxWeightsBytes(const ModelConfig& config) {
  constexpr int64_t kSlack = 64 << 20;
  int64_t sum = kSlack;
  for (const TensorSpec& spec : ListTensors(config)) {
    int64_t bytes = sizeof(float);
    bool overflows = false;
    for (const int64_t size : spec.shape) overflows |= __builtin_mul_overflow(bytes, size, &bytes);
    if (overflows || __builtin_add_overflow(sum, bytes, &sum)) {
      return std::numeric_limits<int64_t>::max();
    }
  }
  return sum;
}

}  // namespace

absl::Status ValidateModelConfig(const ModelConfig& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckModelFields(config));
  return CheckAttentionKinds(config);
}

std::vector<TensorSpec> ListTensors(const ModelConfig& config) {
  return Transformer::ListTensors(config);
}

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory) {
  ModelFiles files;
  return ReadModelDirectory(directory, &files);
}

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files) {
  const auto check = [](const ModelConfig& config) -> absl::StatusOr<int64_t> {
    LEAPSTREAM_RETURN_IF_ERROR(CheckAttentionKinds(config));
    return MaxWeightsBytes(config);
  };
  return ReadModelFiles(directory, check, files);
}

}  // namespace leapstream
