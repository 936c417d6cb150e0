#include "model/torch/torch_encoder.h"

#include <utility>

#include <ATen/ATen.h>
#include "absl/strings/str_cat.h"
#include "model/engine/source_reader.h"
#include "model/torch/attention/torch_attention.h"

namespace leapstream {
namespace {

// fairseq's TransformerEncoderLayer, with any kind of attention.
class PlainTorchLayer : public TorchEncoderLayer {
 public:
  PlainTorchLayer(const TorchParameters& parameters, const ModelConfig& config,
                  const SideConfig& side)
      : before_(side.normalize_before),
        attention_(parameters.Under("self_attention"), config, side),
        attention_norm_(parameters.Under("self_attention_norm")),
        ffn_(parameters.Under("ffn"), *ParseActivation(config.activation_fn)),
        ffn_norm_(parameters.Under("ffn_norm")) {}

  at::Tensor Apply(const at::Tensor& x, const Call& call) const override {
    const at::Tensor attended =
        TorchResidual(attention_norm_, before_, x, [&](const at::Tensor& in) {
          const TorchHeads heads = attention_.HeadsOf(in, call.positions);
          return attention_.Output(call.attention.Step(call.layer, heads));
        });
    return TorchResidual(ffn_norm_, before_, attended, ffn_);
  }

 private:
  const bool before_;
  const TorchAttention attention_;
  const TorchNorm attention_norm_;
  const TorchFeedForward ffn_;
  const TorchNorm ffn_norm_;
};

bool IsConformer(const ModelConfig& config) {
  return config.speech.has_value() && config.speech->conformer.has_value();
}

const char* SideNameOf(const ModelConfig& config) {
  return config.language_model.has_value() ? "decoder" : "encoder";
}

}  // namespace

TorchEncoder::TorchEncoder(const TorchParameters& parameters, const ModelConfig& config,
                           std::shared_ptr<TorchContext> context)
    : config_(config),
      side_(config.language_model.has_value() ? config.decoder : config.encoder),
      context_(std::move(context)),
      shape_(ShapeOfSelf(side_, config)),
      embedding_(parameters, SideNameOf(config), side_, config) {
  const TorchParameters own = parameters.Under(SideNameOf(config));
  if (IsConformer(config)) input_ = TorchLinear(own.Under("input"));
  for (int l = 0; l < side_.layers; ++l) {
    if (const int first = side_.LayerOf(l); first != l) {
      layers_.push_back(layers_[static_cast<size_t>(first)]);
      continue;
    }
    const TorchParameters layer = own.Under(absl::StrCat("layers.", l));
    if (IsConformer(config)) {
      layers_.push_back(MakeTorchConformerLayer(layer, config));
    } else {
      layers_.push_back(std::make_shared<const PlainTorchLayer>(layer, config, side_));
    }
  }
  if (side_.final_norm) norm_ = TorchNorm(own.Under("norm"));
  if (config.causal_encoder) past_ = MakeTorchPast(shape_, context_);
}

void TorchEncoder::AddTo(TransformerState* state) const {
  if (past_ == nullptr) return;
  (config_.language_model.has_value() ? state->self_past() : state->encoder_past())
      .push_back(past_->NewState());
}

absl::Status TorchEncoder::Reserve(int states) const {
  return past_ != nullptr ? past_->Reserve(states) : absl::OkStatus();
}

at::Tensor TorchEncoder::Embed(const SourceBatch& batch, const at::Tensor& positions) const {
  if (!config_.speech.has_value()) return embedding_(batch.tokens, positions);
  const int64_t width = side_.embed_dim;
  const auto count = static_cast<int64_t>(batch.owners.size());
  std::vector<float> rows(static_cast<size_t>(count * width));
  SourceReader::CopySpeech(batch, width, rows.data());
  const at::Tensor x = embedding_.OfRows(
      context_->Upload(rows.data(), {count, width}).to(context_->type), positions);
  return input_.weight.defined() ? input_(x) : x;
}

at::Tensor TorchEncoder::EncodePass(const at::Tensor& in, const at::Tensor& positions,
                                    const RowGrid& grid,
                                    const std::vector<TransformerState*>& owners,
                                    bool provisional) const {
  std::unique_ptr<TorchPastCall> call;
  if (past_ == nullptr) {
    call = AttendToWhole(shape_, grid);
  } else {
    std::vector<AttentionState*> states;
    for (TransformerState* owner : owners) {
      states.push_back(
          (config_.language_model.has_value() ? owner->self_past() : owner->encoder_past())[0]
              .get());
    }
    call =
        past_->Open(states, grid, provisional ? TorchPast::Use::kSteps : TorchPast::Use::kSettles);
  }
  at::Tensor x = in;
  for (size_t l = 0; l < layers_.size(); ++l) {
    x = layers_[l]->Apply(x, {static_cast<int64_t>(l), positions, grid, *call});
  }
  // A row that is provisional is the only one of its session.
  call->Close({provisional ? std::vector<int64_t>(owners.size(), 0) : grid.counts(),
               std::vector<bool>(owners.size(), provisional)});
  return norm_.weight.defined() ? norm_(x) : x;
}

void TorchEncoder::Encode(const SourceBatch& batch,
                          absl::FunctionRef<void(const Encoded&)> take) const {
  if (batch.owners.empty()) return;
  SourceReader::CountRows(batch);
  std::vector<TransformerState*> sessions;
  std::vector<int64_t> counts;
  for (TransformerState* owner : batch.owners) {
    if (sessions.empty() || sessions.back() != owner) {
      sessions.push_back(owner);
      counts.push_back(0);
    }
    ++counts.back();
  }
  const at::Tensor all_positions =
      context_->Upload(std::vector<int64_t>(batch.positions.begin(), batch.positions.end()));
  const at::Tensor all = Embed(batch, all_positions);
  const std::vector<RowPass> passes =
      DivideRows(counts, config_.causal_encoder ? kCausalRows : kWhole);
  for (const RowPass& pass : passes) {
    const RowGrid grid(pass.counts(), *context_);
    std::vector<TransformerState*> owners;
    for (const RowPass::Part& part : pass.parts) owners.push_back(sessions[part.session]);
    at::Tensor in = all;
    at::Tensor positions = all_positions;
    if (passes.size() > 1) {
      const at::Tensor rows = context_->Upload(pass.rows());
      in = all.index_select(0, rows);
      positions = all_positions.index_select(0, rows);
    }
    const at::Tensor x = EncodePass(in, positions, grid, owners, batch.provisional);
    take({pass, grid, owners, positions, x});
  }
}

}  // namespace leapstream
