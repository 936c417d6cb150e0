#include "model/fairseq/checkpoint.h"

#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "model/fairseq/half.h"

namespace leapstream {
namespace {

// The names that versions of LeaPformer gave the proportion nets, newest first.
constexpr const char* kLeapNames[] = {"LeaP", "denom", "numer"};
constexpr size_t kMaxNamesInError = 10;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string NameList(const std::vector<std::string>& names) {
  std::string result;
  for (size_t i = 0; i < names.size() && i < kMaxNamesInError; ++i) {
    absl::StrAppend(&result, i == 0 ? "" : ", ", absl::CHexEscape(names[i].substr(0, 200)));
  }
  if (names.size() > kMaxNamesInError) {
    absl::StrAppend(&result, " and ", names.size() - kMaxNamesInError, " more");
  }
  return result;
}

// StrReplaceAll() takes the longest of the keys that match at the earliest place.
std::string FairseqName(absl::string_view name) {
  return absl::StrReplaceAll(name, {{"coder.embedding", "coder.embed_tokens.weight"},
                                    {"coder.positions", "coder.embed_positions.weight"},
                                    {"coder.embedding_norm", "coder.layernorm_embedding"},
                                    {"coder.norm", "coder.layer_norm"},
                                    {"coder.output", "coder.output_projection.weight"},
                                    {"self_attention", "self_attn"},
                                    {"self_attention_norm", "self_attn_layer_norm"},
                                    {"cross_attention", "encoder_attn"},
                                    {"cross_attention_norm", "encoder_attn_layer_norm"},
                                    {"query.", "q_proj."},
                                    {"key.", "k_proj."},
                                    {"value.", "v_proj."},
                                    {"output.", "out_proj."},
                                    {"query_proportion.hidden", "q_LeaP.0"},
                                    {"query_proportion.out", "q_LeaP.2"},
                                    {"key_proportion.hidden", "k_LeaP.0"},
                                    {"key_proportion.out", "k_LeaP.2"},
                                    {"ffn.hidden", "fc1"},
                                    {"ffn.out", "fc2"},
                                    {"ffn_norm", "final_layer_norm"}});
}

// What inference does not use: reference quirks 7 and 19, notes F of the reference's README.
bool IsIgnored(absl::string_view name) {
  return absl::StrContains(name, "_proj_soft.") || name == "encoder.version" ||
         name == "decoder.version" || absl::EndsWith(name, "embed_positions._float_tensor") ||
         absl::StartsWith(name, "decoder.layernorm_embedding.");
}

float ReadFloat(StorageType type, const char* bytes, bool swap) {
  const int size = static_cast<int>(ElementBytes(type));
  uint64_t bits = 0;
  for (int i = 0; i < size; ++i) {
    bits |= uint64_t{uint8_t(bytes[i])} << 8 * (swap ? size - 1 - i : i);
  }
  switch (type) {
    case StorageType::kFloat16:
      return HalfToFloat(bits);
    case StorageType::kFloat64: {
      double value;
      std::memcpy(&value, &bits, sizeof(value));
      return static_cast<float>(value);
    }
    default: {
      const uint32_t word = type == StorageType::kBFloat16 ? bits << 16 : bits;
      float value;
      std::memcpy(&value, &word, sizeof(value));
      return value;
    }
  }
}

}  // namespace

absl::Status FairseqCheckpoint::Error(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", what));
}

absl::StatusOr<FairseqCheckpoint> FairseqCheckpoint::Parse(absl::string_view bytes,
                                                           absl::string_view name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(ZipArchive archive, ZipArchive::Parse(bytes, name));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string folder, archive.TorchFolder());
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view pickled, archive.Read(folder + "/data.pkl"));
  LEAPSTREAM_ASSIGN_OR_RETURN(
      Pickle parsed, Pickle::Parse(pickled, absl::StrCat(name, ": ", folder, "/data.pkl")));
  FairseqCheckpoint result(name, std::move(archive), std::move(parsed));
  result.folder_ = folder;
  if (result.archive_.Has(folder + "/byteorder")) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view order,
                                result.archive_.Read(folder + "/byteorder"));
    if (order != "little" && order != "big") return result.Error("unknown byte order");
    result.big_endian_ = order == "big";
  }

  const Pickle& pickle = result.pickle_;
  const PickledValue& parameters = pickle.at(pickle.Fields(pickle.Find(pickle.root(), "model")));
  for (size_t i = 0; i + 1 < parameters.items.size(); i += 2) {
    const PickledValue& key = pickle.at(parameters.items[i]);
    const PickledValue& value = pickle.at(parameters.items[i + 1]);
    if (key.kind != ValueKind::kString || value.kind != ValueKind::kTensor) {
      return result.Error("`model` has an entry that is no tensor; not a fairseq checkpoint");
    }
    result.parameters_[key.text] = pickle.tensor(value);
  }
  if (result.parameters_.empty()) {
    return result.Error("no `model` with tensors; not a fairseq checkpoint");
  }

  const ValueId cfg = pickle.Find(pickle.root(), "cfg");
  const ValueId content = pickle.Find(cfg, "_content");  // If it is an OmegaConf DictConfig.
  const ValueId config = content == kNoneValue ? cfg : content;
  ValueId model = pickle.Find(config, "model");
  if (model == kNoneValue) model = pickle.Find(pickle.root(), "args");
  if (pickle.Fields(model) == kNoneValue) {
    return result.Error("neither `cfg[\"model\"]` nor `args`; not a fairseq checkpoint");
  }
  // What the model says comes last and wins. Newer configurations keep languages in the task's
  // part.
  result.AddOptions(pickle.Find(config, "task"));
  const std::string task = result.Option("_name", "");
  result.options_.erase("_name");
  result.AddOptions(model);
  if (!task.empty()) result.options_.emplace("task", task);
  return result;
}

void FairseqCheckpoint::AddOptions(ValueId parent) {
  if (const ValueId content = pickle_.Find(parent, "_content"); content != kNoneValue) {
    parent = content;  // An OmegaConf DictConfig.
  }
  const std::vector<ValueId>& items = pickle_.at(pickle_.Fields(parent)).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickledValue& key = pickle_.at(items[i]);
    if (key.kind != ValueKind::kString) continue;
    const PickledValue* value = &pickle_.at(items[i + 1]);
    if (value->kind == ValueKind::kRecord) {
      const ValueId node = pickle_.Find(items[i + 1], "_val");  // OmegaConf's AnyNode.
      if (node != kNoneValue || pickle_.at(value->args).items.size() != 1) {
        value = &pickle_.at(node);
      } else {
        value = &pickle_.at(pickle_.at(value->args).items[0]);  // Enum(value).
      }
    }
    std::string text;
    switch (value->kind) {
      case ValueKind::kBool:
        text = value->integer != 0 ? "True" : "False";
        break;
      case ValueKind::kInt:
        text = absl::StrCat(value->integer);
        break;
      case ValueKind::kFloat:
        text = absl::StrCat(value->real);
        break;
      case ValueKind::kString:
        text = value->text.substr(0, 1000);
        break;
      case ValueKind::kList:
      case ValueKind::kTuple:
        text = value->items.empty() ? "[]" : "[...]";
        break;
      default:
        continue;  // None, and what no option of ours is.
    }
    options_[key.text] = std::move(text);
  }
}

std::string FairseqCheckpoint::Option(const std::string& option, absl::string_view fallback) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::string(fallback) : found->second;
}

bool FairseqCheckpoint::IsTrue(const std::string& option) const {
  const std::string text = Option(option, "False");
  return text != "False" && text != "0" && text != "[]" && !text.empty();
}

absl::StatusOr<int> FairseqCheckpoint::IntOption(const std::string& option) const {
  const auto found = options_.find(option);
  int value = 0;
  if (found == options_.end()) return Error(absl::StrCat("option ", option, " is missing"));
  if (!absl::SimpleAtoi(found->second, &value)) {
    return Error(absl::StrCat("option ", option, " needs an integer, got `",
                              absl::CHexEscape(found->second.substr(0, 100)), "`"));
  }
  return value;
}

std::string FairseqCheckpoint::architecture() const { return Option("arch", Option("_name", "")); }

bool FairseqCheckpoint::HasLeap(absl::string_view side, absl::string_view attention) const {
  for (const char* name : kLeapNames) {
    const std::string block = absl::StrCat(side, ".layers.0.", attention, ".q_", name, ".0.weight");
    if (parameters_.count(block) > 0) return true;
  }
  return false;
}

std::vector<std::string> FairseqCheckpoint::ReasonsNotServed() const {
  const std::string arch = architecture();
  if (!absl::StartsWith(arch, "transformer_monotonic")) {
    return {absl::StrCat("architecture `", absl::CHexEscape(arch.substr(0, 100)),
                         "`; only transformer_monotonic* is served")};
  }
  std::vector<std::string> reasons;
  if (const std::string type = Option("simul_type", ""); type != "waitk") {
    reasons.push_back(absl::StrCat("simul_type `", absl::CHexEscape(type.substr(0, 100)),
                                   "`; only waitk is served"));
  }
  constexpr const char* kBlocks[][3] = {{"encoder", "self_attn", "encoder self-attention"},
                                        {"decoder", "self_attn", "decoder self-attention"},
                                        {"decoder", "encoder_attn", "cross-attention"}};
  for (const auto& [side, attention, text] : kBlocks) {
    if (!HasLeap(side, attention)) {
      reasons.push_back(absl::StrCat(text, " without LeaP (soft-max attention)"));
    }
  }
  for (const char* option :
       {"energy_bias", "no_cross_attention", "cross_self_attention", "adaptive_input",
        "adaptive_softmax_cutoff", "share_encoder_ffn_attn_layer", "share_decoder_ffn_attn_layer",
        "merge_src_tgt_embed", "encoder_layers_to_keep", "decoder_layers_to_keep"}) {
    if (IsTrue(option)) reasons.push_back(absl::StrCat("option ", option));
  }
  const std::string width = Option("decoder_embed_dim", "");
  for (const char* option : {"decoder_input_dim", "decoder_output_dim"}) {
    if (Option(option, width) != width) {
      reasons.push_back(absl::StrCat("option ", option, " other than decoder_embed_dim"));
    }
  }
  return reasons;
}

absl::StatusOr<SideConfig> FairseqCheckpoint::Side(const std::string& side) const {
  SideConfig result;
  LEAPSTREAM_ASSIGN_OR_RETURN(result.embed_dim, IntOption(side + "_embed_dim"));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.ffn_embed_dim, IntOption(side + "_ffn_embed_dim"));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.layers, IntOption(side + "_layers"));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.attention_heads, IntOption(side + "_attention_heads"));
  result.normalize_before = IsTrue(side + "_normalize_before");
  // Rows of tables are the checkpoint's own; their widths are checked with all other shapes.
  const auto rows = [this](const std::string& parameter) -> absl::StatusOr<int> {
    const auto found = parameters_.find(parameter);
    if (found == parameters_.end())
      return Error(absl::StrCat("parameter ", parameter, " is missing"));
    const std::vector<int64_t>& shape = found->second.shape;
    if (shape.size() != 2 || shape[0] > 1 << 24) {
      return Error(absl::StrCat("parameter ", parameter, " has the shape ", ShapeText(shape),
                                ", no table of embeddings"));
    }
    return static_cast<int>(shape[0]);
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(result.vocabulary_size, rows(side + ".embed_tokens.weight"));
  if (IsTrue("no_token_positional_embeddings")) {
    result.positions = PositionKind::kNone;
  } else if (IsTrue(side + "_learned_pos")) {
    result.positions = PositionKind::kLearned;
    LEAPSTREAM_ASSIGN_OR_RETURN(result.max_positions, rows(side + ".embed_positions.weight"));
    result.max_positions -= 2;  // Positions start at padding_idx + 1.
  }
  return result;
}

absl::StatusOr<ModelConfig> FairseqCheckpoint::Config() const {
  if (const std::vector<std::string> reasons = ReasonsNotServed(); !reasons.empty()) {
    return absl::UnimplementedError(
        absl::StrCat(name_, ": this model is not served: ", absl::StrJoin(reasons, "; ")));
  }
  ModelConfig config;
  config.source_language = Option("source_lang", "");
  config.target_language = Option("target_lang", "");
  config.architecture = architecture();
  LEAPSTREAM_ASSIGN_OR_RETURN(config.encoder, Side("encoder"));
  LEAPSTREAM_ASSIGN_OR_RETURN(config.decoder, Side("decoder"));
  config.encoder.final_norm = config.encoder.normalize_before;
  config.decoder.final_norm = config.decoder.normalize_before && !IsTrue("no_decoder_final_norm");
  config.encoder.layernorm_embedding = IsTrue("layernorm_embedding");
  config.activation_fn = Option("activation_fn", "relu");
  config.scale_embedding = !IsTrue("no_scale_embedding");
  config.leap_factor = 4;  // The fork's default, which it does not always record.
  if (options_.count("leap_factor") > 0) {
    LEAPSTREAM_ASSIGN_OR_RETURN(config.leap_factor, IntOption("leap_factor"));
  }
  config.share_all_embeddings = IsTrue("share_all_embeddings");
  config.share_decoder_input_output_embed =
      config.share_all_embeddings || IsTrue("share_decoder_input_output_embed");
  LEAPSTREAM_ASSIGN_OR_RETURN(config.waitk_lagging, IntOption("waitk_lagging"));
  config.fairseq_options = options_;
  // The caller's to fill, so not this function's to complain of.
  ModelConfig named = config;
  named.name = named.source_language = named.target_language = "unnamed";
  if (absl::Status valid = ValidateModelConfig(named); !valid.ok()) return Error(valid.message());
  return config;
}

absl::Status FairseqCheckpoint::CheckShape(const std::string& parameter,
                                           const std::vector<int64_t>& shape) const {
  const std::vector<int64_t>& found = parameters_.at(parameter).shape;
  if (found == shape) return absl::OkStatus();
  return Error(absl::StrCat("parameter ", parameter, " has the shape ", ShapeText(found),
                            ", the options ask for ", ShapeText(shape)));
}

absl::StatusOr<ParameterMap> FairseqCheckpoint::MapParameters(const ModelConfig& config) const {
  ParameterMap result;
  std::vector<std::string> missing;
  std::set<std::string> used;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const std::string name = FairseqName(spec.name);
    std::string source;
    for (const char* leap : kLeapNames) {
      source = absl::StrReplaceAll(name, {{"_LeaP.", absl::StrCat("_", leap, ".")}});
      if (parameters_.count(source) > 0) break;
    }
    if (parameters_.count(source) == 0) {
      missing.push_back(absl::StrCat(name, " ", ShapeText(spec.shape)));
      continue;
    }
    LEAPSTREAM_RETURN_IF_ERROR(CheckShape(source, spec.shape));
    used.insert(source);
    result.sources[spec.name] = source;
  }
  if (!missing.empty()) {
    return Error(absl::StrCat(missing.size(), " parameters are missing: ", NameList(missing)));
  }

  // fairseq writes a shared table under each of its names.
  std::map<std::string, std::string> shared;
  if (config.share_all_embeddings) {
    shared["decoder.embed_tokens.weight"] = "encoder.embed_tokens.weight";
  }
  if (config.share_all_embeddings || config.share_decoder_input_output_embed) {
    shared["decoder.output_projection.weight"] =
        config.share_all_embeddings ? "encoder.embed_tokens.weight" : "decoder.embed_tokens.weight";
  }
  std::vector<std::string> left_over;
  for (const auto& entry : parameters_) {
    const std::string& name = entry.first;
    if (used.count(name) > 0) continue;
    if (const auto twin = shared.find(name); twin != shared.end()) {
      LEAPSTREAM_RETURN_IF_ERROR(CheckShape(name, parameters_.at(twin->second).shape));
      LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloats(name));
      LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<float> twin_values, ReadFloats(twin->second));
      if (values != twin_values) {
        return Error(absl::StrCat("parameter ", name, " differs from ", twin->second,
                                  ", though the options say that they are shared"));
      }
    } else if (!IsIgnored(name)) {
      left_over.push_back(name);
      continue;
    }
    result.ignored.push_back(name);
  }
  if (!left_over.empty()) {
    return Error(absl::StrCat(
        left_over.size(),
        " parameters have no place in a model with these options: ", NameList(left_over)));
  }
  return result;
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadFloats(
    const std::string& parameter) const {
  const auto error = [&](const auto&... what) {
    return Error(
        absl::StrCat("parameter ", absl::CHexEscape(parameter.substr(0, 200)), ": ", what...));
  };
  const auto found = parameters_.find(parameter);
  if (found == parameters_.end()) return error("missing");
  const PickledTensor& tensor = found->second;
  const PickledStorage& storage = tensor.storage;
  switch (storage.type) {
    case StorageType::kFloat32:
    case StorageType::kFloat16:
    case StorageType::kBFloat16:
    case StorageType::kFloat64:
      break;
    default:
      return error("needs floating-point numbers, has ", ToString(storage.type));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view bytes,
                              archive_.Read(absl::StrCat(folder_, "/data/", storage.key)));
  const int64_t element_bytes = ElementBytes(storage.type);
  if (storage.elements != static_cast<int64_t>(bytes.size()) / element_bytes ||
      bytes.size() % element_bytes != 0) {
    return error("needs ", storage.elements, " numbers, its storage has ", bytes.size(), " bytes");
  }
  int64_t count = 1;
  for (int64_t size : tensor.shape) count *= size;  // Pickle has checked it for overflow.
  // A stride of 0 may make a tensor of any size from one number; no checkpoint has such a
  // parameter.
  if (count > storage.elements) return error("larger than its storage");

  std::vector<float> result;
  result.reserve(count);
  std::vector<int64_t> index(tensor.shape.size());
  int64_t at = tensor.offset;
  for (int64_t i = 0; i < count; ++i) {
    result.push_back(ReadFloat(storage.type, bytes.data() + at * element_bytes, big_endian_));
    if (!std::isfinite(result.back())) return error("number ", i, " is not finite");
    for (size_t d = tensor.shape.size(); d-- > 0;) {
      at += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      at -= tensor.strides[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
  return result;
}

}  // namespace leapstream
