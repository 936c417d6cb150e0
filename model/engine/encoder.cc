#include "model/engine/encoder.h"

#include <algorithm>
#include <vector>

#include "model/engine/source_reader.h"

namespace leapstream {
namespace {

const char* SideName(const ModelConfig& config) {
  return config.language_model.has_value() ? "decoder" : "encoder";
}

const SideConfig& SideOf(const ModelConfig& config) {
  return config.language_model.has_value() ? config.decoder : config.encoder;
}

// The table of embeddings; speech and adaptive input have none.
RowTable MakeTable(const Parameters& parameters, const ModelConfig& config) {
  if (config.speech.has_value() ||
      (config.language_model.has_value() && !config.language_model->adaptive_input.empty())) {
    return RowTable();
  }
  return EmbeddingTable(parameters.Under(SideName(config)), SideOf(config));
}

PackedLinear MakeInput(const Parameters& parameters, const ModelConfig& config) {
  if (!config.speech.has_value() || !config.speech->conformer.has_value()) return PackedLinear();
  const int64_t width = config.encoder.embed_dim;
  return parameters.Under(SideName(config)).Under("input").Linear({width, width});
}

}  // namespace

TransformerEncoder::TransformerEncoder(const Parameters& parameters, const ModelConfig& config,
                                       const RowObserver& observer)
    : config_(config),
      side_(SideOf(config)),
      observer_(observer),
      embedding_(MakeTable(parameters, config), parameters.Under(SideName(config)), side_, config),
      input_(MakeInput(parameters, config)),
      stack_(parameters.Under(SideName(config)), config, side_, "enc"),
      norm_(side_.final_norm
                ? LayerNorm(parameters.Under(SideName(config)).Under("norm"), side_.embed_dim)
                : LayerNorm()) {}

void TransformerEncoder::AddTo(TransformerState* state) const {
  for (size_t l = 0; l < states(); ++l) {
    StatesOf(*state).push_back(stack_.layers[l].own->NewState());
  }
}

void TransformerEncoder::Reserve(int states) const {
  for (size_t l = 0; l < this->states(); ++l) {
    stack_.layers[l].own->Reserve(states);
  }
}

void TransformerEncoder::Embed(const SourceBatch& batch, float* x, Workspace& scratch) const {
  if (!config_.speech.has_value()) {
    return embedding_.Apply(batch.tokens, batch.positions, x, scratch);
  }
  const int64_t width = side_.embed_dim;
  const auto count = static_cast<int64_t>(batch.owners.size());
  SourceReader::CopySpeech(batch, width, x);
  observer_.Show("", "subsampled", {x, count, width});
  embedding_.ApplyToRows(batch.positions, x, scratch);
  if (input_.in() > 0) {
    const Workspace::Scope scope(scratch);
    float* const embedded = scratch.Floats(count * width);
    std::copy_n(x, count * width, embedded);
    input_.Apply(embedded, count, x, scratch);
  }
  observer_.Show("", "encoder_in", {x, count, width});
}

Rows TransformerEncoder::Encode(const SourceBatch& batch, Scratch& scratch,
                                BetweenLayers between_layers) const {
  Workspace& floats = scratch.floats;
  const auto count = static_cast<int64_t>(batch.owners.size());
  const int64_t width = side_.embed_dim;
  const Rows x{floats.Floats(count * width), count, width};
  if (count == 0) return x;
  SourceReader::CountRows(batch);
  Embed(batch, x.x, floats);
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.resize(count);
  for (size_t l = 0; l < stack_.order.size(); ++l) {
    if (l > 0) between_layers();
    for (int64_t r = 0; r < count; ++r) {
      const auto& states = StatesOf(*batch.owners[r]);
      AttentionState* state = states[config_.causal_encoder ? stack_.order[l] : 0].get();
      rows[r] = {state, batch.positions[r]};
      if (!config_.causal_encoder && batch.positions[r] == 0) state->Reset();
    }
    const StepPast past = batch.provisional ? StepPast::kProvisional : StepPast::kSettled;
    stack_.layers[stack_.order[l]].own->Apply(x, {rows, past, stack_.names[l], observer_, floats});
  }
  if (norm_.defined()) norm_.Apply(x.x, count, x.x);
  observer_.Show("", "encoder_out", x);
  between_layers();
  return x;
}

}  // namespace leapstream
