#include "model/fairseq/checkpoint.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

// Limits far above any real option's, since a file may have anything.
constexpr size_t kMaxOptionBytes = 1'000;
constexpr size_t kMaxListItems = 256;
constexpr int kMaxWrappers = 4;
constexpr int kMaxDepth = 3;  // The most lists that may lie within each other.
// The parts of fairseq's TransformerConfig whose options have a prefix when they are flat.
constexpr const char* kNestedOptions[] = {"encoder", "decoder", "quant_noise"};

uint64_t ReadBits(const char* bytes, int size, bool swap) {
  uint64_t bits = 0;
  for (int i = 0; i < size; ++i) {
    bits |= uint64_t{uint8_t(bytes[i])} << 8 * (swap ? size - 1 - i : i);
  }
  return bits;
}

// The number of these bits. `type`: one of the floating types.
double ReadReal(StorageType type, uint64_t bits) {
  switch (type) {
    case StorageType::kFloat16:
      return HalfToFloat(static_cast<uint16_t>(bits));
    case StorageType::kFloat64: {
      double value;
      std::memcpy(&value, &bits, sizeof(value));
      return value;
    }
    default: {
      const auto word = static_cast<uint32_t>(type == StorageType::kBFloat16 ? bits << 16 : bits);
      float value;
      std::memcpy(&value, &word, sizeof(value));
      return value;
    }
  }
}

void AppendUtf8(uint32_t point, std::string* text) {
  if (point < 0x80) {
    text->push_back(static_cast<char>(point));
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  constexpr int kLeads[] = {0, 0xc0, 0xe0, 0xf0};
  text->push_back(static_cast<char>(kLeads[more] | (point >> 6 * more & 0x3f)));
  for (int i = more - 1; i >= 0; --i) {
    text->push_back(static_cast<char>(0x80 | (point >> 6 * i & 0x3f)));
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

  // As in fairseq, `args` is used if it is there.
  const ValueId cfg = result.Unwrap(pickle.Find(pickle.root(), "cfg"));
  ValueId model = result.Unwrap(pickle.Find(pickle.root(), "args"));
  if (pickle.Fields(model) == kNoneValue) model = result.Unwrap(pickle.Find(cfg, "model"));
  if (pickle.Fields(model) == kNoneValue) {
    return result.Error("neither `cfg[\"model\"]` nor `args`; not a fairseq checkpoint");
  }
  // The task's part is read, too: newer configurations keep languages there. The model's part comes
  // last and wins.
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
    const PickledValue& args = pickle_.at(pickle_.at(id).args);
    if (pickle_.Has(id, "_content")) {
      id = pickle_.Find(id, "_content");
    } else if (pickle_.Has(id, "_val")) {
      id = pickle_.Find(id, "_val");
    } else if (pickle_.Fields(id) == kNoneValue && args.items.size() == 1) {
      id = args.items[0];
    } else {
      break;
    }
  }
  return id;
}

// An option's value as text. None and the empty string give an empty text.
std::string FairseqCheckpoint::OptionText(ValueId id, int depth) const {
  const PickledValue& value = pickle_.at(Unwrap(id));
  const auto list = [&](const char* open, const char* close, size_t step) {
    if (depth >= kMaxDepth) return absl::StrCat(open, "...", close);
    std::string text = open;
    // A list may refer to others many times, so reading stops at the most bytes that are kept.
    for (size_t i = 0; i + step <= value.items.size() && text.size() < kMaxOptionBytes; i += step) {
      if (i > 0) text += ", ";
      text += OptionText(value.items[i], depth + 1);
      if (step == 2) absl::StrAppend(&text, ": ", OptionText(value.items[i + 1], depth + 1));
    }
    return absl::StrCat(text.substr(0, kMaxOptionBytes - 1), close);
  };
  switch (value.kind) {
    case ValueKind::kNone:
      return "";
    case ValueKind::kBool:
      return value.integer != 0 ? "True" : "False";
    case ValueKind::kInt:
      return absl::StrCat(value.integer);
    case ValueKind::kFloat:
      return absl::StrCat(value.real);
    case ValueKind::kString:
    case ValueKind::kBytes:
      return value.text.substr(0, kMaxOptionBytes);
    case ValueKind::kList:
    case ValueKind::kTuple:
      return list("[", "]", 1);
    case ValueKind::kSet:
      return list("{", "}", 1);
    case ValueKind::kDict:
      return list("{", "}", 2);
    case ValueKind::kTensor:
      return TensorText(pickle_.tensor(value));
    case ValueKind::kGlobal:
      return value.text.substr(0, kMaxOptionBytes);
    case ValueKind::kStorage:
      return "<storage>";
    case ValueKind::kRecord:
      break;
  }
  return value.keyed ? list("{", "}", 2) : RecordText(value, depth);
}

// The value of an object as text: of a NumPy scalar or array of up to one dimension, of bytes as
// protocol 2 has them, of a path, or the name of an enumeration's member. Other objects give
// <their class>.
std::string FairseqCheckpoint::RecordText(const PickledValue& record, int depth) const {
  const PickledValue& args = pickle_.at(record.args);
  if (absl::EndsWith(record.text, ".multiarray.scalar") && args.items.size() == 2) {
    return NumpyText(args.items[0], args.items[1]);
  }
  const PickledValue& state = pickle_.at(record.state);  // (version, shape, dtype, order, bytes)
  if (absl::EndsWith(record.text, ".multiarray._reconstruct") && state.items.size() == 5 &&
      pickle_.at(state.items[1]).items.size() <= 1) {
    const std::string text = NumpyText(state.items[2], state.items[4]);
    const bool is_list = !pickle_.at(state.items[1]).items.empty();
    return is_list ? absl::StrCat("[", text, "]") : text;
  }
  if (absl::StartsWith(record.text, "pathlib.")) {
    std::vector<std::string> parts;
    if (depth < kMaxDepth && args.items.size() <= kMaxListItems) {
      for (const ValueId part : args.items) parts.push_back(OptionText(part, depth + 1));
    }
    return absl::StrReplaceAll(absl::StrJoin(parts, "/"), {{"//", "/"}}).substr(0, kMaxOptionBytes);
  }
  if (record.text == "builtins.getattr" || record.text == "__builtin__.getattr") {
    if (args.items.size() == 2) return pickle_.at(args.items[1]).text.substr(0, kMaxOptionBytes);
  }
  if (record.text == "_codecs.encode") {
    if (const auto bytes = BytesOf(record.args); bytes.has_value()) {
      return bytes->substr(0, kMaxOptionBytes);
    }
  }
  return absl::StrCat("<", record.text.substr(0, kMaxOptionBytes), ">");
}

// The bytes of a value; nullopt if it has none. In protocol 2 bytes are a call of
// _codecs.encode(text, "latin1"); `id` may also be this call's arguments.
std::optional<std::string> FairseqCheckpoint::BytesOf(ValueId id) const {
  const PickledValue* value = &pickle_.at(id);
  if (value->kind == ValueKind::kBytes || value->kind == ValueKind::kString) return value->text;
  if (value->kind == ValueKind::kRecord && value->text == "_codecs.encode") {
    value = &pickle_.at(value->args);
  }
  if (value->kind != ValueKind::kTuple || value->items.size() != 2) return std::nullopt;
  const PickledValue& text = pickle_.at(value->items[0]);
  const PickledValue& encoding = pickle_.at(value->items[1]);
  if (text.kind != ValueKind::kString || !absl::StartsWith(encoding.text, "latin")) {
    return std::nullopt;
  }
  std::string bytes;
  for (size_t i = 0; i < text.text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text.text[i]);
    if (lead < 0x80) {
      bytes.push_back(static_cast<char>(lead));
    } else if ((lead & ~1) == 0xc2 && i + 1 < text.text.size()) {
      bytes.push_back(static_cast<char>((lead & 1) << 6 | (text.text[++i] & 0x3f) | 0x80));
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

// The elements of an array of this dtype, with ", " between them; "<numpy.dtype>" if it is not
// known.
std::string FairseqCheckpoint::NumpyText(ValueId dtype, ValueId data) const {
  const PickledValue& type = pickle_.at(dtype);
  const PickledValue& type_args = pickle_.at(type.args);
  const PickledValue& type_state = pickle_.at(type.state);  // (version, byte order, ...)
  const std::string name = type_args.items.empty() ? "" : pickle_.at(type_args.items[0]).text;
  const std::string unknown = absl::StrCat("<numpy.", name.substr(0, 20), ">");
  const std::optional<std::string> bytes = BytesOf(data);
  size_t size = 0;
  if (name.size() < 2 || !absl::SimpleAtoi(name.substr(1), &size) || !bytes.has_value()) {
    return unknown;
  }
  if (name[0] == 'U') size = size <= kMaxOptionBytes ? size * 4 : 0;
  if (size == 0 || bytes->size() % size != 0) return bytes->empty() ? "" : unknown;
  const bool swap = type_state.items.size() > 1 && pickle_.at(type_state.items[1]).text == ">";
  std::vector<std::string> parts;
  for (size_t at = 0; at < bytes->size() && parts.size() < kMaxListItems; at += size) {
    const absl::string_view one = absl::string_view(*bytes).substr(at, size);
    if (name[0] == 'S') {
      parts.emplace_back(one.substr(0, one.find('\0')));
      continue;
    }
    if (name[0] == 'U') {
      std::string text;
      for (size_t i = 0; i < size; i += 4) {
        const auto point = static_cast<uint32_t>(ReadBits(one.data() + i, 4, swap));
        if (point != 0) AppendUtf8(point, &text);
      }
      parts.push_back(std::move(text));
      continue;
    }
    if (size > 8 || (size & (size - 1)) != 0) return unknown;
    const uint64_t bits = ReadBits(one.data(), static_cast<int>(size), swap);
    const int unused = 64 - 8 * static_cast<int>(size);
    if (name == "b1") {
      parts.emplace_back(bits != 0 ? "True" : "False");
    } else if (name[0] == 'i') {
      parts.push_back(absl::StrCat(static_cast<int64_t>(bits << unused) >> unused));
    } else if (name[0] == 'u') {
      parts.push_back(absl::StrCat(bits));
    } else if (name[0] == 'f' && size > 1) {
      const StorageType real = size == 2   ? StorageType::kFloat16
                               : size == 4 ? StorageType::kFloat32
                                           : StorageType::kFloat64;
      parts.push_back(absl::StrCat(ReadReal(real, bits)));
    } else {
      return unknown;
    }
  }
  return absl::StrJoin(parts, ", ").substr(0, kMaxOptionBytes);
}

// A tensor as text: its number if it has one element, else "<torch.Tensor>".
std::string FairseqCheckpoint::TensorText(const PickledTensor& tensor) const {
  for (const int64_t size : tensor.shape) {
    if (size != 1) return "<torch.Tensor>";
  }
  const PickledStorage& storage = tensor.storage;
  const auto bytes = archive_.Read(absl::StrCat(folder_, "/data/", storage.key));
  if (!bytes.ok() || storage.type == StorageType::kOther) return "<torch.Tensor>";
  const int size = static_cast<int>(ElementBytes(storage.type));
  if (static_cast<int64_t>(bytes->size()) / size <= tensor.offset) return "<torch.Tensor>";
  const uint64_t bits = ReadBits(bytes->data() + tensor.offset * size, size, big_endian_);
  switch (storage.type) {
    case StorageType::kBool:
      return bits != 0 ? "True" : "False";
    case StorageType::kUint8:
      return absl::StrCat(bits);
    case StorageType::kInt8:
    case StorageType::kInt16:
    case StorageType::kInt32:
    case StorageType::kInt64:
      return absl::StrCat(static_cast<int64_t>(bits << (64 - 8 * size)) >> (64 - 8 * size));
    default:
      return absl::StrCat(ReadReal(storage.type, bits));
  }
}

void FairseqCheckpoint::AddOptions(ValueId parent, absl::string_view prefix) {
  const std::vector<ValueId>& items = pickle_.at(pickle_.Fields(parent)).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickledValue& key = pickle_.at(items[i]);
    if (key.kind != ValueKind::kString) continue;
    const ValueId value = Unwrap(items[i + 1]);
    if (pickle_.at(value).kind == ValueKind::kNone) continue;
    // The options of nested configurations get flat names elsewhere.
    const bool nested = absl::c_linear_search(kNestedOptions, key.text);
    if (nested && pickle_.Fields(value) != kNoneValue) continue;
    options_[absl::StrCat(prefix, key.text)] = OptionText(value, 0);
  }
}

void FairseqCheckpoint::AddNestedOptions(ValueId parent) {
  for (const char* name : kNestedOptions) {
    AddOptions(Unwrap(pickle_.Find(parent, name)), absl::StrCat(name, "_"));
  }
}

// Replaces "${model.decoder.embed_dim}" by the value of the option that it names. "???" is
// OmegaConf's mark of a missing value.
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
  return ReadTensor<float>(parameter, found->second);
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadRows(const ParameterRows& rows) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const PickledTensor part, RowsOf(rows));
  return ReadTensor<float>(rows.parameter, part);
}

absl::StatusOr<std::vector<double>> FairseqCheckpoint::ReadDoubleRows(
    const ParameterRows& rows) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const PickledTensor part, RowsOf(rows));
  return ReadTensor<double>(rows.parameter, part);
}

absl::StatusOr<PickledTensor> FairseqCheckpoint::RowsOf(const ParameterRows& rows) const {
  const auto found = parameters_.find(rows.parameter);
  if (found == parameters_.end() || found->second.shape.empty() || rows.first < 0 ||
      rows.count < 1 || rows.first > found->second.shape[0] - rows.count) {
    return Error(absl::StrCat("parameter ", rows.parameter, " has no rows [", rows.first, ", ",
                              rows.first + rows.count, ")"));
  }
  PickledTensor part = found->second;
  part.offset += rows.first * part.strides[0];
  part.shape[0] = rows.count;
  return part;
}

template <typename Number>
absl::StatusOr<std::vector<Number>> FairseqCheckpoint::ReadTensor(
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
      return error("needs floating-point numbers, has ", storage.TypeName());
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view bytes,
                              archive_.Read(absl::StrCat(folder_, "/data/", storage.key)));
  const int64_t element_bytes = ElementBytes(storage.type);
  if (storage.elements != static_cast<int64_t>(bytes.size()) / element_bytes ||
      bytes.size() % element_bytes != 0) {
    return error("needs ", storage.elements, " numbers, its storage has ", bytes.size(), " bytes");
  }
  int64_t count = 1;
  for (int64_t size : tensor.shape) count *= size;  // Pickle has checked this for overflow.
  // With a stride of 0 a tensor of any size could be made from one number. No real checkpoint has
  // such a parameter.
  if (count > storage.elements) return error("larger than its storage");

  std::vector<Number> result;
  result.reserve(count);
  std::vector<int64_t> index(tensor.shape.size());
  int64_t at = tensor.offset;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t bits =
        ReadBits(bytes.data() + at * element_bytes, static_cast<int>(element_bytes), big_endian_);
    result.push_back(static_cast<Number>(ReadReal(storage.type, bits)));
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
