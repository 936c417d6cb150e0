#include "model/api/model_directory.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/status.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxModelJsonBytes = 1 << 20;
constexpr int kMaxDepth = 8;  // Ours is 2; deeper values are dropped unread.
constexpr const char* kFiles[] = {kWeightsFile, kSourceDictionaryFile, kTargetDictionaryFile,
                                  kSourceSentencePieceFile, kTargetSentencePieceFile};
// In the order of PositionKind.
constexpr const char* kPositionNames[] = {"none", "sinusoidal", "learned"};
// In the order of PreDecision.
constexpr const char* kPreDecisionNames[] = {"average", "last"};

// Reads the fields of one JSON object; keeps the first error.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  void Read(const char* key, std::string* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Fail(key, "a string");
    *result = value->get<std::string>();
  }
  void Read(const char* key, bool* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Fail(key, "true or false");
    *result = value->get<bool>();
  }
  void Read(const char* key, int* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    // Unsigned is what the parser makes of every number without sign, point and exponent.
    if (!value->is_number_unsigned() || value->get<uint64_t>() > 0x7fffffff) {
      return Fail(key, "an integer in [0, 2^31)");
    }
    *result = value->get<int>();
  }
  void Read(const char* key, std::vector<int>* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return Fail(key, "an array of integers");
    for (const Json& element : *value) {
      if (!element.is_number_unsigned() || element.get<uint64_t>() > 0x7fffffff) {
        return Fail(key, "an array of integers in [0, 2^31)");
      }
      result->push_back(element.get<int>());
    }
  }
  void Read(const char* key, std::vector<float>* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return Fail(key, "an array of numbers");
    for (const Json& element : *value) {
      if (!element.is_number()) return Fail(key, "an array of numbers");
      result->push_back(element.get<float>());
    }
  }
  void Read(const char* key, PreDecision* result) {
    std::string name;
    Read(key, &name);
    const auto found = std::find(std::begin(kPreDecisionNames), std::end(kPreDecisionNames), name);
    if (found == std::end(kPreDecisionNames)) {
      return Fail(key, absl::StrCat("one of ", absl::StrJoin(kPreDecisionNames, ", ")));
    }
    *result = static_cast<PreDecision>(found - std::begin(kPreDecisionNames));
  }
  void Read(const char* key, PositionKind* result) {
    std::string name;
    Read(key, &name);
    const auto found = std::find(std::begin(kPositionNames), std::end(kPositionNames), name);
    if (found == std::end(kPositionNames)) {
      return Fail(key, absl::StrCat("one of ", absl::StrJoin(kPositionNames, ", ")));
    }
    *result = static_cast<PositionKind>(found - std::begin(kPositionNames));
  }
  void Read(const char* key, std::map<std::string, std::string>* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_object()) return Fail(key, "an object of strings");
    for (const auto& [name, text] : value->items()) {
      if (!text.is_string()) return Fail(key, "an object of strings");
      (*result)[name] = text.get<std::string>();
    }
  }
  void Read(const char* key, SideConfig* result) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_object()) return Fail(key, "an object");
    FieldReader side(*value, absl::StrCat(where_, key, "."));
    side.Read("embed_dim", &result->embed_dim);
    side.Read("ffn_embed_dim", &result->ffn_embed_dim);
    side.Read("layers", &result->layers);
    side.Read("attention_heads", &result->attention_heads);
    side.Read("input_dim", &result->input_dim);
    side.Read("output_dim", &result->output_dim);
    side.Read("normalize_before", &result->normalize_before);
    side.Read("final_norm", &result->final_norm);
    side.Read("layernorm_embedding", &result->layernorm_embedding);
    side.Read("positions", &result->positions);
    side.Read("max_positions", &result->max_positions);
    side.Read("vocabulary_size", &result->vocabulary_size);
    side.Read("self_attention", &result->self_attention);
    side.Read("cross_attention", &result->cross_attention);
    side.Read("shared_layers", &result->shared_layers);
    if (status_.ok()) status_ = side.status_;
  }
  // Only models of speech have the field.
  void Read(const char* key, std::optional<SpeechConfig>* result) {
    if (!object_.contains(key)) return;
    const Json* value = Find(key);
    if (!value->is_object()) return Fail(key, "an object");
    SpeechConfig& speech = result->emplace();
    FieldReader reader(*value, absl::StrCat(where_, key, "."));
    reader.Read("pre_decision_ratio", &speech.input.pre_decision_ratio);
    reader.Read("pre_decision_type", &speech.input.pre_decision_type);
    reader.Read("conv_channels", &speech.conv_channels);
    reader.Read("cmvn_mean", &speech.cmvn_mean);
    reader.Read("cmvn_std", &speech.cmvn_std);
    if (status_.ok()) status_ = reader.status_;
  }

  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* key) {
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    Fail(key, "a value, and there is none");
    return nullptr;
  }
  void Fail(absl::string_view key, absl::string_view expected) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("field ", where_, key, " needs ", expected));
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

Json ToJson(const SideConfig& side) {
  return {{"embed_dim", side.embed_dim},
          {"ffn_embed_dim", side.ffn_embed_dim},
          {"layers", side.layers},
          {"attention_heads", side.attention_heads},
          {"input_dim", side.input_dim},
          {"output_dim", side.output_dim},
          {"normalize_before", side.normalize_before},
          {"final_norm", side.final_norm},
          {"layernorm_embedding", side.layernorm_embedding},
          {"positions", kPositionNames[static_cast<int>(side.positions)]},
          {"max_positions", side.max_positions},
          {"vocabulary_size", side.vocabulary_size},
          {"self_attention", side.self_attention},
          {"cross_attention", side.cross_attention},
          {"shared_layers", side.shared_layers}};
}

Json ToJson(const SpeechConfig& speech) {
  return {
      {"pre_decision_ratio", speech.input.pre_decision_ratio},
      {"pre_decision_type", kPreDecisionNames[static_cast<int>(speech.input.pre_decision_type)]},
      {"conv_channels", speech.conv_channels},
      {"cmvn_mean", speech.cmvn_mean},
      {"cmvn_std", speech.cmvn_std}};
}

// What the network is, and what it was trained to do: all but names and files.
Json NetworkToJson(const ModelConfig& config) {
  Json json = {{"architecture", config.architecture},
               {"causal_encoder", config.causal_encoder},
               {"simul_type", config.simul_type},
               {"encoder", ToJson(config.encoder)},
               {"decoder", ToJson(config.decoder)},
               {"activation_fn", config.activation_fn},
               {"scale_embedding", config.scale_embedding},
               {"leap_factor", config.leap_factor},
               {"cross_normaliser", config.cross_normaliser},
               {"mass_preservation", config.mass_preservation},
               {"energy_bias", config.energy_bias},
               {"share_all_embeddings", config.share_all_embeddings},
               {"share_decoder_input_output_embed", config.share_decoder_input_output_embed},
               {"waitk_lagging", config.waitk_lagging},
               {"max_source_positions", config.max_source_positions},
               {"max_target_positions", config.max_target_positions}};
  if (config.speech.has_value()) json["speech"] = ToJson(*config.speech);
  return json;
}

absl::Status CheckRange(absl::string_view what, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " needs to be in [", low, ", ", high, "], got ", value));
}

absl::Status CheckName(absl::string_view what, absl::string_view value,
                       std::initializer_list<absl::string_view> names) {
  if (absl::c_linear_search(names, value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " needs to be one of ",
                                                 absl::StrJoin(names, ", "), ", got `",
                                                 absl::CHexEscape(value.substr(0, 100)), "`"));
}

// The attention kinds that a model can ask for; model/engine/attention/make_attention.cc makes
// them.
struct AttentionKindSpec {
  const char* name;
  bool proportion_nets;  // It has tensors {query,key}_proportion.
};
constexpr AttentionKindSpec kKinds[] = {{"softmax", false}, {"leap", true}};

const AttentionKindSpec* FindKind(absl::string_view name) {
  for (const AttentionKindSpec& spec : kKinds) {
    if (name == spec.name) return &spec;
  }
  return nullptr;
}
bool HasProportionNets(absl::string_view kind) {
  const AttentionKindSpec* spec = FindKind(kind);
  return spec != nullptr && spec->proportion_nets;
}

// The bounds are far above any model of this kind, and keep every product within int64_t.
struct SideLimits {
  int leap_factor;
  bool embeds_tokens;  // Not an encoder of speech.
};
absl::Status ValidateSide(absl::string_view name, const SideConfig& side,
                          const SideLimits& limits) {
  const int leap_factor = limits.leap_factor;
  const auto what = [name](absl::string_view field) { return absl::StrCat(name, ".", field); };
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("embed_dim"), side.embed_dim, 1, 1 << 15));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("ffn_embed_dim"), side.ffn_embed_dim, 1, 1 << 18));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("layers"), side.layers, 1, 256));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("attention_heads"), side.attention_heads, 1, 1024));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("vocabulary_size"), side.vocabulary_size,
                                        limits.embeds_tokens ? 4 : 0,
                                        limits.embeds_tokens ? 1 << 24 : 0));
  if (side.embed_dim % side.attention_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(what("embed_dim"), " ", side.embed_dim,
                                                   " is no multiple of attention_heads ",
                                                   side.attention_heads));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("leap_factor", leap_factor, 1, 1 << 15));
  const int head_dim = side.embed_dim / side.attention_heads;
  if ((HasProportionNets(side.self_attention) || HasProportionNets(side.cross_attention)) &&
      head_dim % leap_factor != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "leap_factor ", leap_factor, " does not divide the ", name, "'s head size ", head_dim));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("input_dim"), side.input_dim, 1, 1 << 15));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("output_dim"), side.output_dim, 1, 1 << 15));
  for (const auto& [field, kind] : {std::pair("self_attention", side.self_attention),
                                    {"cross_attention", side.cross_attention}}) {
    if (FindKind(kind) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          what(field), " needs to be one of ",
          absl::StrJoin(kKinds, ", ",
                        [](std::string* out, const AttentionKindSpec& spec) { *out += spec.name; }),
          ", got `", absl::CHexEscape(kind.substr(0, 100)), "`"));
    }
  }
  for (const int layer : side.shared_layers) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("shared_layers"), layer, 1, side.layers));
  }
  const bool learned = side.positions == PositionKind::kLearned;
  // Two: a token and </s>.
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("max_positions"), side.max_positions, learned ? 2 : 0,
                                        learned ? 1 << 24 : 0));
  if (side.positions == PositionKind::kSinusoidal && side.embed_dim < 4) {
    return absl::InvalidArgumentError(
        absl::StrCat(what("embed_dim"), " is below 4, too small for sinusoidal positions"));
  }
  return absl::OkStatus();
}

absl::Status ValidateSpeech(const ModelConfig& config) {
  if (!config.speech.has_value()) return absl::OkStatus();
  const SpeechConfig& speech = *config.speech;
  // 1000 steps of 40 ms.
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckRange("speech.pre_decision_ratio", speech.input.pre_decision_ratio, 1, 1000));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("speech.conv_channels", speech.conv_channels, 1, 1 << 13));
  for (const auto& [name, values] :
       {std::pair("mean", &speech.cmvn_mean), {"std", &speech.cmvn_std}}) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRange(absl::StrCat("length of speech.cmvn_", name),
                                          values->size(), kMelBins, kMelBins));
    for (const float value : *values) {
      if (std::isfinite(value) && (value > 0 || values == &speech.cmvn_mean)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "speech.cmvn_", name, " needs finite numbers, a std also positive ones, got ", value));
    }
  }
  if (config.simul_type != "waitk" || config.causal_encoder) {
    return absl::InvalidArgumentError(
        "a model of speech needs simul_type waitk and a bidirectional encoder");
  }
  if (config.share_all_embeddings || config.encoder.layernorm_embedding ||
      config.encoder.final_norm || config.encoder.positions == PositionKind::kLearned) {
    return absl::InvalidArgumentError(
        "an encoder of speech has no embedding to share or to normalise, no norm after its layers "
        "and no learned positions");
  }
  return absl::OkStatus();
}

class SpecList {
 public:
  void Add(std::string name, std::vector<int64_t> shape) {
    specs_.push_back({std::move(name), std::move(shape)});
  }
  void AddLinear(const std::string& name, int64_t out, int64_t in) {
    Add(name + ".weight", {out, in});
    Add(name + ".bias", {out});
  }
  void AddNorm(const std::string& name, int64_t size) {
    Add(name + ".weight", {size});
    Add(name + ".bias", {size});
  }
  void AddAttention(const std::string& name, const ModelConfig& config, const SideConfig& side,
                    const std::string& kind, int64_t key_width) {
    const int64_t E = side.embed_dim;
    const int64_t K = E / side.attention_heads;
    AddLinear(name + ".query", E, E);
    AddLinear(name + ".key", E, key_width);
    AddLinear(name + ".value", E, key_width);
    AddLinear(name + ".output", E, E);
    if (!HasProportionNets(kind)) return;
    for (const char* net : {".query_proportion", ".key_proportion"}) {
      AddLinear(absl::StrCat(name, net, ".hidden"), K / config.leap_factor, K);
      AddLinear(absl::StrCat(name, net, ".out"), 1, K / config.leap_factor);
    }
  }
  void AddSide(const std::string& name, const ModelConfig& config, const SideConfig& side,
               bool is_decoder) {
    const int64_t E = side.embed_dim;
    if (!is_decoder && config.speech.has_value()) {
      const int64_t C = config.speech->conv_channels;
      Add(name + ".conv.0.weight", {C, 1, 3, 3});
      Add(name + ".conv.0.bias", {C});
      Add(name + ".conv.1.weight", {C, C, 3, 3});
      Add(name + ".conv.1.bias", {C});
      AddLinear(name + ".conv.out", E, C * (kMelBins / 4));
    } else if (!is_decoder || !config.share_all_embeddings) {
      Add(name + ".embedding", {side.vocabulary_size, side.input_dim});
    }
    if (side.input_dim != E) Add(name + ".project_in", {E, side.input_dim});
    if (side.positions == PositionKind::kLearned) {
      Add(name + ".positions", {int64_t{side.max_positions} + 2, E});
    }
    if (side.layernorm_embedding) AddNorm(name + ".embedding_norm", E);
    for (int i = 0; i < side.layers; ++i) {
      if (side.LayerOf(i) != i) continue;
      const std::string layer = absl::StrCat(name, ".layers.", i, ".");
      AddAttention(layer + "self_attention", config, side, side.self_attention, E);
      AddNorm(layer + "self_attention_norm", E);
      if (is_decoder) {
        const std::string cross = layer + "cross_attention";
        AddAttention(cross, config, side, side.cross_attention, config.encoder.embed_dim);
        if (config.SoftLookback()) {
          AddLinear(cross + ".query_soft", E, E);
          AddLinear(cross + ".key_soft", E, config.encoder.embed_dim);
        }
        if (config.energy_bias) Add(cross + ".energy_bias", {1});
        AddNorm(layer + "cross_attention_norm", E);
      }
      AddLinear(layer + "ffn.hidden", side.ffn_embed_dim, E);
      AddLinear(layer + "ffn.out", E, side.ffn_embed_dim);
      AddNorm(layer + "ffn_norm", E);
    }
    if (side.final_norm) AddNorm(name + ".norm", E);
    if (side.output_dim != E) Add(name + ".project_out", {side.output_dim, E});
  }
  std::vector<TensorSpec> Take() { return std::move(specs_); }

 private:
  std::vector<TensorSpec> specs_;
};

absl::Status Prefix(absl::string_view path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

int SideConfig::LayerOf(int layer) const {
  if (!absl::c_linear_search(shared_layers, layer + 1)) return layer;
  return *absl::c_min_element(shared_layers) - 1;
}

std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config) {
  SpecList specs;
  specs.AddSide("encoder", config, config.encoder, /*is_decoder=*/false);
  specs.AddSide("decoder", config, config.decoder, /*is_decoder=*/true);
  if (!config.share_all_embeddings && !config.share_decoder_input_output_embed) {
    specs.Add("decoder.output", {config.decoder.vocabulary_size, config.decoder.output_dim});
  }
  return specs.Take();
}

absl::Status ValidateModelConfig(const ModelConfig& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("length of name", config.name.size(), 1, 256));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckRange("length of source_language", config.source_language.size(), 1, 64));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckRange("length of target_language", config.target_language.size(), 1, 64));
  LEAPSTREAM_RETURN_IF_ERROR(
      ValidateSide("encoder", config.encoder, {config.leap_factor, !config.speech.has_value()}));
  LEAPSTREAM_RETURN_IF_ERROR(ValidateSide("decoder", config.decoder, {config.leap_factor, true}));
  LEAPSTREAM_RETURN_IF_ERROR(ValidateSpeech(config));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckName("simul_type", config.simul_type,
                {"none", "waitk", "hard_aligned", "infinite_lookback", "chunkwise"}));
  if (config.encoder.input_dim != config.encoder.embed_dim ||
      config.encoder.output_dim != config.encoder.embed_dim) {
    return absl::InvalidArgumentError("encoder.input_dim and output_dim need to be embed_dim");
  }
  const int output_width = config.share_decoder_input_output_embed ? config.decoder.input_dim
                                                                   : config.decoder.output_dim;
  if (output_width != config.decoder.output_dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "share_decoder_input_output_embed needs decoder.output_dim ", config.decoder.output_dim,
        " to be the embedding's width ", config.decoder.input_dim));
  }
  if (config.energy_bias && !config.LearnedPolicy()) {
    return absl::InvalidArgumentError("energy_bias needs a simul_type that learns its policy");
  }
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckName("activation_fn", config.activation_fn,
                {"relu", "gelu", "gelu_accurate", "gelu_fast", "tanh", "linear", "swish"}));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckName("cross_normaliser", config.cross_normaliser, {"linear", "softmax"}));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckName("compute_type", config.compute_type, {"float32", "bfloat16", "int8"}));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("waitk_lagging", config.waitk_lagging, 0, 1'000'000));
  for (const int positions : {config.max_source_positions, config.max_target_positions}) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRange("max positions", positions, 0, 1 << 24));
  }
  if (config.share_all_embeddings &&
      (config.encoder.input_dim != config.decoder.input_dim ||
       config.encoder.vocabulary_size != config.decoder.vocabulary_size)) {
    return absl::InvalidArgumentError(
        "share_all_embeddings needs the same embed_dim and vocabulary_size on both sides");
  }
  return absl::OkStatus();
}

absl::Status CheckSameNetwork(const ModelConfig& first, const ModelConfig& other) {
  const Json difference = Json::diff(NetworkToJson(first), NetworkToJson(other));
  if (difference.empty()) return absl::OkStatus();
  const std::string field = difference[0]["path"].get<std::string>();
  const Json::json_pointer at(field);
  const auto text = [&at](const ModelConfig& config) {
    return NetworkToJson(config)[at].dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  return absl::InvalidArgumentError(absl::StrCat("field ", field.substr(1), " is ", text(other),
                                                 ", in the first it is ", text(first)));
}

namespace {

// What weights of this configuration may have at most, in float32, with their header.
int64_t MaxWeightsBytes(const ModelConfig& config) {
  constexpr int64_t kSlack = 64 << 20;
  int64_t sum = kSlack;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
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

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory) {
  ModelFiles files;
  return ReadModelDirectory(directory, &files);
}

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files) {
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  LEAPSTREAM_ASSIGN_OR_RETURN((*files)[kModelJson], FileBytes::Read(path, kMaxModelJsonBytes));
  const absl::string_view text = (*files)[kModelJson]->bytes();
  const Json json = Json::parse(
      text.begin(), text.end(),
      [](int depth, Json::parse_event_t, Json&) { return depth < kMaxDepth; },
      /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));

  FieldReader reader(json, "");
  int version = 0;
  reader.Read("format_version", &version);
  if (reader.status().ok() && version != kModelFormatVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": format_version ", version, ", this program reads ", kModelFormatVersion,
        "; export the model again with its own leapstream-export"));
  }
  ModelConfig config;
  reader.Read("name", &config.name);
  reader.Read("source_language", &config.source_language);
  reader.Read("target_language", &config.target_language);
  reader.Read("architecture", &config.architecture);
  reader.Read("causal_encoder", &config.causal_encoder);
  reader.Read("simul_type", &config.simul_type);
  reader.Read("speech", &config.speech);
  reader.Read("encoder", &config.encoder);
  reader.Read("decoder", &config.decoder);
  reader.Read("activation_fn", &config.activation_fn);
  reader.Read("scale_embedding", &config.scale_embedding);
  reader.Read("leap_factor", &config.leap_factor);
  reader.Read("cross_normaliser", &config.cross_normaliser);
  reader.Read("mass_preservation", &config.mass_preservation);
  reader.Read("energy_bias", &config.energy_bias);
  reader.Read("share_all_embeddings", &config.share_all_embeddings);
  reader.Read("share_decoder_input_output_embed", &config.share_decoder_input_output_embed);
  reader.Read("waitk_lagging", &config.waitk_lagging);
  reader.Read("max_source_positions", &config.max_source_positions);
  reader.Read("max_target_positions", &config.max_target_positions);
  reader.Read("compute_type", &config.compute_type);
  reader.Read("fairseq_options", &config.fairseq_options);
  reader.Read("sha256", &config.sha256);
  if (!reader.status().ok()) return Prefix(path, reader.status());
  if (absl::Status valid = ValidateModelConfig(config); !valid.ok()) return Prefix(path, valid);

  if (config.sha256.count(kWeightsFile) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": field sha256 needs an entry for ", kWeightsFile));
  }
  for (const auto& [name, recorded] : config.sha256) {
    if (!absl::c_linear_search(kFiles, absl::string_view(name))) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": field sha256 names `",
                                                     absl::CHexEscape(name.substr(0, 100)),
                                                     "`, which is no file of a model"));
    }
    const std::string file_path = absl::StrCat(directory, "/", name);
    auto file = FileBytes::Read(
        file_path, name == kWeightsFile ? MaxWeightsBytes(config) : kMaxTextFileBytes);
    if (!file.ok()) return absl::FailedPreconditionError(file.status().message());
    const std::string found = Sha256OfBytes((*file)->bytes());
    (*files)[name] = *std::move(file);
    if (found != recorded) {
      return absl::FailedPreconditionError(absl::StrCat(
          file_path, ": its SHA-256 is ", found, ", ", kModelJson, " has ",
          absl::CHexEscape(recorded.substr(0, 64)), "; the file was changed or damaged"));
    }
  }
  return config;
}

absl::Status WriteModelJson(const std::string& directory, ModelConfig config) {
  config.sha256.clear();
  for (const char* name : kFiles) {
    auto hash = Sha256OfFile(absl::StrCat(directory, "/", name));
    if (absl::IsNotFound(hash.status())) continue;
    if (!hash.ok()) return hash.status();
    config.sha256[name] = *std::move(hash);
  }
  Json json = NetworkToJson(config);
  json.update({{"format_version", kModelFormatVersion},
               {"name", config.name},
               {"source_language", config.source_language},
               {"target_language", config.target_language},
               {"compute_type", config.compute_type},
               {"fairseq_options", config.fairseq_options},
               {"sha256", config.sha256}});
  const std::string path = absl::StrCat(directory, "/", kModelJson);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(
      const auto file, FileBytes::Read(path, std::numeric_limits<int64_t>::max()));
  return Sha256OfBytes(file->bytes());
}

std::string Sha256OfBytes(absl::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LEAPSTREAM_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) ==
                   1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace leapstream
