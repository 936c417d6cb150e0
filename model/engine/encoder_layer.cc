#include "model/engine/encoder_layer.h"

#include "model/engine/attention/kinds.h"
#include "model/engine/layer_stack.h"
#include "model/engine/speech/conformer_layer.h"

namespace leapstream {

std::unique_ptr<const EncoderLayer> MakeEncoderLayer(const Parameters& parameters,
                                                     const ModelConfig& config,
                                                     const SideConfig& side) {
  if (config.speech.has_value() && config.speech->conformer.has_value()) {
    return std::make_unique<ConformerLayer>(parameters, config);
  }
  return std::make_unique<TransformerEncoderLayer>(parameters, config, side);
}

TransformerEncoderLayer::TransformerEncoderLayer(const Parameters& parameters,
                                                 const ModelConfig& config,
                                                 const SideConfig& side)
    : config_(config),
      side_(side),
      self_attention_(MakeSelfAttention(parameters.Under("self_attention"), config, side)),
      self_attention_norm_(parameters.Under("self_attention_norm"), side.embed_dim),
      ffn_(parameters.Under("ffn"), side, *ParseActivation(config.activation_fn)),
      ffn_norm_(parameters.Under("ffn_norm"), side.embed_dim) {}

void TransformerEncoderLayer::Apply(const Rows& x, const Call& call) const {
  const bool before = side_.normalize_before;
  Residual(self_attention_norm_, before, x, call.scratch, [&](float* in) {
    call.observer.ShowProportions(call.name, self_attention_, side_.attention_heads,
                                  {in, x.count, x.width});
    call.observer.ShowAdded(call.name, ".self_attn", x, [&] {
      if (config_.causal_encoder) {
        self_attention_.Step(in, call.rows, call.past, x.x, call.scratch);
      } else {
        self_attention_.Append(in, call.rows, call.scratch);
        self_attention_.Attend(in, call.rows, x.x, call.scratch);
      }
    });
  });
  Residual(ffn_norm_, before, x, call.scratch,
           [&](const float* in) { ffn_.Apply(in, x.count, x.x, call.scratch); });
  call.observer.Show(call.name, ".out", x);
}

}  // namespace leapstream
