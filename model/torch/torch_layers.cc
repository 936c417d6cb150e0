#include "model/torch/torch_layers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"
#include "model/engine/contract.h"
#include "model/engine/model_family.h"

namespace leapstream {
namespace {

// Whether a tensor stays float32, whatever the type of products is: nets that feed sines, and
// statistics.
bool IsExact(absl::string_view name) {
  return absl::StrContains(name, "_proportion.") || absl::StrContains(name, "batch_norm.") ||
         absl::EndsWith(name, "energy_bias");
}

}  // namespace

TorchParameters::TorchParameters(const ModelConfig& config, Weights& weights,
                                 std::shared_ptr<const TorchContext> context)
    : context_(std::move(context)) {
  auto tensors = std::make_shared<std::map<std::string, at::Tensor>>();
  for (const TensorSpec& spec : ListTensors(config)) {
    const Tensor tensor = weights.Take(spec.name, spec.shape);
    (*tensors)[spec.name] = context_->Upload(tensor.data(), tensor.shape())
                                .to(IsExact(spec.name) ? at::kFloat : context_->type);
  }
  tensors_ = std::move(tensors);
}

TorchParameters TorchParameters::Under(absl::string_view name) const {
  TorchParameters part = *this;
  absl::StrAppend(&part.prefix_, name, ".");
  return part;
}

bool TorchParameters::Has(absl::string_view name) const {
  return tensors_->count(absl::StrCat(prefix_, name)) > 0;
}

at::Tensor TorchParameters::Get(absl::string_view name) const {
  return tensors_->at(absl::StrCat(prefix_, name));
}

TorchLinear::TorchLinear(const TorchParameters& parameters)
    : weight(parameters.Get("weight")),
      bias(parameters.Has("bias") ? parameters.Get("bias") : at::Tensor()) {}

TorchLinear::TorchLinear(const TorchParameters& parameters,
                         std::initializer_list<absl::string_view> names) {
  std::vector<at::Tensor> weights, biases;
  for (const absl::string_view name : names) {
    weights.push_back(parameters.Under(name).Get("weight"));
    biases.push_back(parameters.Under(name).Get("bias"));
  }
  weight = at::cat(weights);
  bias = at::cat(biases);
}

at::Tensor TorchLinear::operator()(const at::Tensor& x) const {
  // A product of one row needs no copy of the weights in another order, which OpenBLAS makes.
  if (x.size(0) == 1 && x.dim() == 2 && x.scalar_type() == at::kFloat) {
    const at::Tensor row = x.squeeze(0);
    return (bias.defined() ? at::addmv(bias, weight, row) : at::mv(weight, row)).unsqueeze(0);
  }
  return at::linear(x, weight, bias);
}

TorchNorm::TorchNorm(const TorchParameters& parameters)
    : weight(parameters.Get("weight")), bias(parameters.Get("bias")) {}

at::Tensor TorchNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, weight, bias);
}

at::Tensor TorchFeedForward::operator()(const at::Tensor& x) const {
  at::Tensor h = hidden_(x);
  switch (activation_) {
    case Activation::kRelu:
      h.relu_();
      break;
    case Activation::kGelu:
      h = at::gelu(h);
      break;
    case Activation::kGeluTanh:
      h = at::gelu(h, "tanh");
      break;
    case Activation::kTanh:
      h.tanh_();
      break;
    case Activation::kSwish:
      h = at::silu(h);
      break;
    case Activation::kLinear:
      break;
  }
  return out_(h);
}

TorchEmbedding::TorchEmbedding(const TorchParameters& parameters, absl::string_view side_name,
                               const SideConfig& side, const ModelConfig& config) {
  const TorchParameters own = parameters.Under(side_name);
  const TorchContext& context = parameters.context();
  context_ = parameters.shared_context();
  const bool of_encoder = side_name == "encoder";
  if (config.language_model.has_value() && !config.language_model->adaptive_input.empty()) {
    int64_t first = 0;
    const std::vector<BandConfig>& bands = config.language_model->adaptive_input;
    for (size_t b = 0; b < bands.size(); ++b) {
      const TorchParameters band = own.Under(absl::StrCat("bands.", b));
      bands_.push_back({first, band.Get("embedding"), band.Get("project")});
      first += bands[b].words;
    }
  } else if (!of_encoder || !config.speech.has_value()) {
    tokens_ = (config.share_all_embeddings ? parameters.Under("encoder") : own).Get("embedding");
  }
  if (side.input_dim != side.embed_dim && own.Has("project_in")) {
    project_in_ = own.Get("project_in");
  }
  if (side.positions == PositionKind::kLearned) learned_ = own.Get("positions");
  if (side.positions == PositionKind::kSinusoidal) {
    const std::vector<float> frequencies = SinusoidalFrequencies(side.embed_dim);
    frequencies_ = context.Upload(frequencies.data(), {static_cast<int64_t>(frequencies.size())});
  }
  if (config.scale_embedding) scale_ = std::sqrt(static_cast<float>(side.embed_dim));
  if (side.layernorm_embedding) norm_ = TorchNorm(own.Under("embedding_norm"));
}

at::Tensor TorchEmbedding::operator()(absl::Span<const TokenId> tokens,
                                      const at::Tensor& positions) const {
  at::Tensor x = bands_.empty()
                     ? tokens_.index_select(
                           0, context_->Upload(std::vector<int64_t>(tokens.begin(), tokens.end())))
                     : ReadBands(tokens);
  if (scale_ != 1) x = x * scale_;
  if (project_in_.defined()) x = at::linear(x, project_in_);
  x = AddPositions(x, positions);
  return norm_.weight.defined() ? norm_(x) : x;
}

at::Tensor TorchEmbedding::ReadBands(absl::Span<const TokenId> tokens) const {
  at::Tensor x = at::empty({static_cast<int64_t>(tokens.size()), bands_[0].project.size(0)},
                           bands_[0].project.options());
  for (size_t b = 0; b < bands_.size(); ++b) {
    const int64_t first = bands_[b].first;
    const int64_t end = first + bands_[b].words.size(0);
    std::vector<int64_t> rows, words;
    for (size_t r = 0; r < tokens.size(); ++r) {
      if (tokens[r] < first || tokens[r] >= end) continue;
      rows.push_back(static_cast<int64_t>(r));
      words.push_back(tokens[r] - first);
    }
    if (rows.empty()) continue;
    x.index_copy_(
        0, context_->Upload(rows),
        at::linear(bands_[b].words.index_select(0, context_->Upload(words)), bands_[b].project));
  }
  return x;
}

at::Tensor TorchEmbedding::OfRows(const at::Tensor& x, const at::Tensor& positions) const {
  return AddPositions(x * scale_, positions);
}

at::Tensor TorchEmbedding::AddPositions(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor rows = positions + (kPadding + 1);  // The rows of fairseq's table.
  if (learned_.defined()) return x + learned_.index_select(0, rows);
  if (!frequencies_.defined()) return x;
  const at::Tensor angles = rows.to(at::kFloat).unsqueeze(-1) * frequencies_;
  return x + at::cat({angles.sin(), angles.cos()}, -1).to(x.scalar_type());
}

TorchOutput::TorchOutput(const TorchParameters& parameters, const ModelConfig& config)
    : vocabulary_(config.decoder.vocabulary_size) {
  const TorchParameters own = parameters.Under("decoder");
  if (config.decoder.output_dim != config.decoder.embed_dim) {
    project_out_ = own.Get("project_out");
  }
  if (!config.language_model.has_value() || config.language_model->adaptive_softmax.empty()) {
    words_.weight = parameters.Get(OutputName(config));
    if (config.output_bias) words_.bias = parameters.Get(kOutputBiasName);
    return;
  }
  const LanguageModelConfig& model = *config.language_model;
  const TorchParameters adaptive = own.Under("adaptive");
  first_band_ = model.adaptive_softmax[0].words;
  words_.weight = model.tie_adaptive_weights
                      ? at::cat({own.Get("bands.0.embedding"), adaptive.Get("classes")})
                      : adaptive.Get("head");
  for (size_t b = 1; b < model.adaptive_softmax.size(); ++b) {
    const TorchParameters tail = adaptive.Under(absl::StrCat("tails.", b - 1));
    const TorchParameters band = own.Under(absl::StrCat("bands.", b));
    tails_.push_back({model.tie_adaptive_proj ? band.Get("project").t() : tail.Get("project"),
                      model.tie_adaptive_weights ? band.Get("embedding") : tail.Get("words")});
  }
}

at::Tensor TorchOutput::operator()(const at::Tensor& x) const {
  const at::Tensor features = project_out_.defined() ? at::linear(x, project_out_) : x;
  const at::Tensor head = words_(features).to(at::kFloat);
  if (tails_.empty()) return head;
  const at::Tensor first = at::log_softmax(head, -1);
  std::vector<at::Tensor> bands = {first.narrow(-1, 0, first_band_)};
  for (size_t t = 0; t < tails_.size(); ++t) {
    const at::Tensor inner = at::linear(features, tails_[t].project);
    const at::Tensor scores = at::linear(inner, tails_[t].words).to(at::kFloat);
    bands.push_back(at::log_softmax(scores, -1) +
                    first.narrow(-1, first_band_ + static_cast<int64_t>(t), 1));
  }
  return at::cat(bands, -1);
}

}  // namespace leapstream
