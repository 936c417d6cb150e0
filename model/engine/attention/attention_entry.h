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
  Parameters parameters;      // The block's; a kind takes tensors of its own from them.
  const ModelConfig& config;  // For a kind's hyperparameters.
  int64_t heads;
  int64_t d;            // Width of a head.
  int64_t sharing = 1;  // Layers that may add to one state in one step.
};

// The ways in which energies become weights.
enum class Normaliser {
  kSoftmax,  // The past is a cache of keys and values: it grows.
  kSum,      // Energies are divided by their sum: the past is sums of a fixed size.
};

// A kind of attention that a model can ask for. All that leapstream knows of it is here; kinds.cc
// lists the kinds.
struct AttentionEntry {
  const char* name;  // In model.json.
  // Makes what the energies are inner products of, with the tensors of its own that the kind has.
  std::unique_ptr<const FeatureMap> (*features)(const AttentionBlock& block);
  Normaliser normaliser = Normaliser::kSum;
  float floor = 0;               // A sum of energies that is smaller counts as this.
  bool proportion_nets = false;  // It has the nets of LeaP, whose width leap_factor says.
  bool in_libtorch = false;      // TorchTranslator computes it, too.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_ENTRY_H_
