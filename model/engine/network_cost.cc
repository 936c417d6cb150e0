#include "model/engine/network_cost.h"

#include "absl/strings/match.h"
#include "model/engine/model_family.h"

namespace leapstream {
namespace {

bool IsKeyOrValue(absl::string_view name) {
  return absl::StrContains(name, "cross_attention.key") ||
         absl::StrContains(name, "cross_attention.value");
}

}  // namespace

NetworkCost CostOf(const ModelConfig& config) {
  NetworkCost cost;
  for (const TensorSpec& spec : ListTensors(config)) {
    int64_t numbers = 1;
    for (const int64_t size : spec.shape) numbers *= size;
    const bool is_matrix = spec.shape.size() > 1;
    cost.numbers += numbers;
    cost.float32_bytes += 4 * numbers;
    cost.int8_bytes += is_matrix ? numbers : 4 * numbers;
    const bool is_table = absl::EndsWith(spec.name, ".embedding") ||
                          absl::EndsWith(spec.name, ".positions");
    if (!is_matrix || is_table) continue;
    const bool of_source = absl::StartsWith(spec.name, "encoder.") || IsKeyOrValue(spec.name);
    (of_source ? cost.source_token : cost.target_token) += numbers;
  }
  if (config.share_decoder_input_output_embed || config.share_all_embeddings) {
    cost.target_token += int64_t{config.decoder.vocabulary_size} * config.decoder.output_dim;
  }
  return cost;
}

}  // namespace leapstream
