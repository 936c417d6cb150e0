#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_ENTRY_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_ENTRY_H_

#include <cstdint>
#include <memory>

#include "model/api/model_config.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The attention block that a kind is asked to compute.
struct AttentionBlock {
  Parameters parameters;      // The block's parameters. A kind takes tensors of its own from them.
  const ModelConfig& config;  // The source of a kind's hyperparameters.
  int64_t heads;
  int64_t d;            // The width of a head.
  int64_t sharing = 1;  // Layers that may add to one state in one step.
};

// The ways in which energies become weights.
enum class Normaliser {
  kSoftmax,  // Soft-max. The past is a cache of keys and values, which grows.
  kSum,      // Energies are divided by their sum. The past is sums of a fixed size.
};

// A kind of attention that a model can ask for. This entry is all that leapstream knows of the
// kind, but for its features on LibTorch's devices, which model/torch/attention/torch_features.cc
// has; kinds.cc lists the kinds.
struct AttentionEntry {
  const char* name;  // The name in model.json.
  // Makes the feature map, which takes the kind's own tensors. Energies are inner products of
  // features.
  std::unique_ptr<const FeatureMap> (*features)(const AttentionBlock& block);
  Normaliser normaliser = Normaliser::kSum;
  float floor = 0;               // The least divisor: a smaller sum of energies counts as this.
  bool proportion_nets = false;  // The kind has LeaP's nets, whose width follows from leap_factor.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_ENTRY_H_
