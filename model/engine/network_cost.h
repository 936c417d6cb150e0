#ifndef LEAPSTREAM_MODEL_ENGINE_NETWORK_COST_H_
#define LEAPSTREAM_MODEL_ENGINE_NETWORK_COST_H_

#include <cstdint>

#include "model/api/model_config.h"

namespace leapstream {

// The cost of a network. Each matrix is applied once a token, so a token costs one multiply-add for
// each of their numbers; attention itself is left out, which is small at the length of a sentence.
struct NetworkCost {
  // Multiply-adds of a source token: the encoder's layers, and cross-attention's keys and values. A
  // bidirectional encoder pays its layers' part again for each token before it when it reads on.
  int64_t source_token = 0;
  int64_t target_token = 0;   // Multiply-adds of a target token: the decoder's layers, its output.
  int64_t numbers = 0;        // All parameters, shared ones once.
  int64_t float32_bytes = 0;  // The weights' memory in float32.
  int64_t int8_bytes = 0;     // In int8: a byte for each number of a matrix, 4 for all others.
};

// `config` must have passed ValidateModelConfig(), but for its languages.
NetworkCost CostOf(const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_NETWORK_COST_H_
