#include "model/fairseq/checkpoint.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

// More than any option has; a file may say anything.
constexpr size_t kMaxOptionBytes = 1'000;
constexpr size_t kMaxListItems = 256;
constexpr int kMaxWrappers = 4;
// The parts of fairseq's TransformerConfig whose options have a prefix when they are flat.
constexpr const char* kNestedOptions[] = {"encoder", "decoder", "quant_noise"};

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
      return result.Error(absl::StrCat(
          "`model` has an entry that is no tensor under a name: ",
          key.kind == ValueKind::kString ? absl::CHexEscape(key.text.substr(0, 100)) : "no name",
          "; not a fairseq checkpoint"));
    }
    result.parameters_[key.text] = pickle.tensor(value);
  }
  if (result.parameters_.empty()) {
    return result.Error("no `model` with tensors; not a fairseq checkpoint");
  }

  // As fairseq does: `args` counts if it is there.
  const ValueId cfg = result.Unwrap(pickle.Find(pickle.root(), "cfg"));
  ValueId model = result.Unwrap(pickle.Find(pickle.root(), "args"));
  if (pickle.Fields(model) == kNoneValue) model = result.Unwrap(pickle.Find(cfg, "model"));
  if (pickle.Fields(model) == kNoneValue) {
    return result.Error("neither `cfg[\"model\"]` nor `args`; not a fairseq checkpoint");
  }
  // What the model says comes last and wins. Newer configurations keep languages in the task's
  // part.
  result.AddOptions(result.Unwrap(pickle.Find(cfg, "task")), "");
  const auto task = result.options_.extract("_name");
  result.AddOptions(model, "");
  result.AddNestedOptions(model);
  if (!task.empty()) result.options_.emplace("task", task.mapped());
  result.ResolveInterpolations();
  return result;
}

// The value inside OmegaConf's containers and nodes, and inside members of enumerations.
ValueId FairseqCheckpoint::Unwrap(ValueId id) const {
  for (int i = 0; i < kMaxWrappers && pickle_.at(id).kind == ValueKind::kRecord; ++i) {
    ValueId inside = pickle_.Find(id, "_content");
    if (inside == kNoneValue) inside = pickle_.Find(id, "_val");
    const PickledValue& args = pickle_.at(pickle_.at(id).args);
    if (inside == kNoneValue && pickle_.Fields(id) == kNoneValue && args.items.size() == 1) {
      inside = args.items[0];
    }
    if (inside == kNoneValue) break;
    id = inside;
  }
  return id;
}

// Empty: None, and what no option of ours is.
std::string FairseqCheckpoint::OptionText(ValueId id) const {
  const PickledValue& value = pickle_.at(Unwrap(id));
  switch (value.kind) {
    case ValueKind::kBool:
      return value.integer != 0 ? "True" : "False";
    case ValueKind::kInt:
      return absl::StrCat(value.integer);
    case ValueKind::kFloat:
      return absl::StrCat(value.real);
    case ValueKind::kString:
      return value.text.substr(0, kMaxOptionBytes);
    default:
      return "";
  }
}

void FairseqCheckpoint::AddOptions(ValueId parent, absl::string_view prefix) {
  const std::vector<ValueId>& items = pickle_.at(pickle_.Fields(parent)).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickledValue& key = pickle_.at(items[i]);
    if (key.kind != ValueKind::kString) continue;
    const PickledValue& value = pickle_.at(Unwrap(items[i + 1]));
    std::string text = OptionText(items[i + 1]);
    if (value.kind == ValueKind::kList || value.kind == ValueKind::kTuple) {
      std::vector<std::string> parts;
      for (size_t j = 0; j < value.items.size() && j < kMaxListItems; ++j) {
        parts.push_back(OptionText(value.items[j]));
      }
      text = absl::StrCat("[", absl::StrJoin(parts, ", "), "]").substr(0, kMaxOptionBytes);
    } else if (text.empty() && value.kind != ValueKind::kString) {
      continue;
    }
    options_[absl::StrCat(prefix, key.text)] = std::move(text);
  }
}

void FairseqCheckpoint::AddNestedOptions(ValueId parent) {
  for (const char* name : kNestedOptions) {
    AddOptions(Unwrap(pickle_.Find(parent, name)), absl::StrCat(name, "_"));
  }
}

// "${model.decoder.embed_dim}" is the value of that option; "???" is OmegaConf's "missing".
void FairseqCheckpoint::ResolveInterpolations() {
  const auto is_open = [](absl::string_view text) { return absl::StartsWith(text, "${"); };
  for (auto it = options_.begin(); it != options_.end();) {
    absl::string_view text = it->second;
    if (absl::ConsumePrefix(&text, "${") && absl::ConsumeSuffix(&text, "}")) {
      if (!absl::ConsumePrefix(&text, "model.")) absl::ConsumePrefix(&text, "task.");
      const auto target = options_.find(absl::StrReplaceAll(text, {{".", "_"}}));
      if (target != options_.end() && !is_open(target->second)) {
        it->second = std::string(target->second);
      }
    }
    it = is_open(it->second) || it->second == "???" ? options_.erase(it) : std::next(it);
  }
}

std::string FairseqCheckpoint::architecture() const {
  for (const char* option : {"arch", "_name"}) {
    if (const auto found = options_.find(option); found != options_.end()) return found->second;
  }
  return "";
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadFloats(
    const std::string& parameter) const {
  const auto found = parameters_.find(parameter);
  if (found == parameters_.end())
    return Error(absl::StrCat("parameter ", parameter, " is missing"));
  return ReadTensor(parameter, found->second);
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadRows(const ParameterRows& rows) const {
  const auto found = parameters_.find(rows.parameter);
  if (found == parameters_.end() || found->second.shape.empty() || rows.first < 0 ||
      rows.count < 1 || rows.first > found->second.shape[0] - rows.count) {
    return Error(absl::StrCat("parameter ", rows.parameter, " has no rows [", rows.first, ", ",
                              rows.first + rows.count, ")"));
  }
  PickledTensor part = found->second;
  part.offset += rows.first * part.strides[0];
  part.shape[0] = rows.count;
  return ReadTensor(rows.parameter, part);
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadTensor(
    const std::string& parameter, const PickledTensor& tensor) const {
  const auto error = [&](const auto&... what) {
    return Error(
        absl::StrCat("parameter ", absl::CHexEscape(parameter.substr(0, 200)), ": ", what...));
  };
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
      if (++index[d] < tensor.shape[d]) {
        at += tensor.strides[d];
        break;
      }
      at -= tensor.strides[d] * (tensor.shape[d] - 1);
      index[d] = 0;
    }
  }
  return result;
}

}  // namespace leapstream
