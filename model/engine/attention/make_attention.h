#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_MAKE_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_MAKE_ATTENTION_H_

#include <string>

#include "model/api/model_directory.h"
#include "model/engine/attention/attention.h"
#include "model/engine/weights.h"

namespace leapstream {

// The block whose tensors are called `name`..., of the kind that the configuration asks for. Throws
// std::invalid_argument on a kind that there is not.
Attention MakeSelfAttention(const Weights& weights, const std::string& name,
                            const SideConfig& side);
Attention MakeCrossAttention(const Weights& weights, const std::string& name,
                             const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_MAKE_ATTENTION_H_
