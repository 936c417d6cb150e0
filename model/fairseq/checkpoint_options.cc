#include "model/fairseq/checkpoint_options.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

// Limits far above any real option's, since a file may have anything. M2M-100's pairs of languages
// are some 60,000 bytes, those of all of NLLB-200's languages would be 730,000.
constexpr size_t kMaxOptionBytes = 4'000'000;
constexpr size_t kMaxBytesOfAll = 32'000'000;
constexpr size_t kMaxArrayItems = 100'000;
constexpr size_t kMaxPathParts = 256;
constexpr int kMaxWrappers = 4;
constexpr int kMaxDepth = 3;  // The most lists that may lie within each other.
// The parts of fairseq's TransformerConfig whose options have a prefix when they are flat.
constexpr const char* kNestedOptions[] = {"encoder", "decoder", "quant_noise"};

// The options of one checkpoint, as they are read.
class OptionReader {
 public:
  explicit OptionReader(const TorchFile& file) : file_(file), pickle_(file.pickle()) {}
  absl::StatusOr<std::map<std::string, std::string>> Read();

 private:
  ValueId Unwrap(ValueId id) const;
  std::string OptionText(ValueId id, int depth) const;
  std::string RecordText(const PickledValue& record, int depth) const;
  std::optional<std::string> BytesOf(ValueId id) const;
  std::string NumpyText(ValueId dtype, ValueId bytes) const;
  std::string TensorText(const PickledTensor& tensor) const;
  void AddOptions(ValueId parent, absl::string_view prefix);
  void AddNestedOptions(ValueId parent);
  void AddTokenizers(ValueId cfg);
  void ResolveInterpolations();

  const TorchFile& file_;
  const Pickle& pickle_;
  std::map<std::string, std::string> options_;
  size_t bytes_ = 0;      // Those of all options.
  std::string too_long_;  // An option that has more bytes than it may have; empty: there is none.
};

// The value inside OmegaConf's containers and nodes, and inside members of enumerations.
ValueId OptionReader::Unwrap(ValueId id) const {
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

// An option's value as text; `depth` is the number of lists around it. None and the empty string
// give an empty text.
std::string OptionReader::OptionText(ValueId id, int depth) const {
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
      return depth > 0 ? "None" : "";
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
std::string OptionReader::RecordText(const PickledValue& record, int depth) const {
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
    if (depth < kMaxDepth && args.items.size() <= kMaxPathParts) {
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
std::optional<std::string> OptionReader::BytesOf(ValueId id) const {
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
std::string OptionReader::NumpyText(ValueId dtype, ValueId data) const {
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
  for (size_t at = 0; at < bytes->size() && parts.size() < kMaxArrayItems; at += size) {
    const absl::string_view one = absl::string_view(*bytes).substr(at, size);
    if (name[0] == 'S') {
      parts.emplace_back(one.substr(0, one.find('\0')));
      continue;
    }
    if (name[0] == 'U') {
      std::string text;
      for (size_t i = 0; i < size; i += 4) {
        const auto point = static_cast<uint32_t>(BitsOf(one.data() + i, 4, swap));
        if (point != 0) AppendUtf8(point, &text);
      }
      parts.push_back(std::move(text));
      continue;
    }
    if (size > 8 || (size & (size - 1)) != 0) return unknown;
    const uint64_t bits = BitsOf(one.data(), static_cast<int>(size), swap);
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
      parts.push_back(absl::StrCat(RealOf(real, bits)));
    } else {
      return unknown;
    }
  }
  return absl::StrJoin(parts, ", ").substr(0, kMaxOptionBytes);
}

// A tensor as text: its number if it has one element, else "<torch.Tensor>".
std::string OptionReader::TensorText(const PickledTensor& tensor) const {
  return file_.NumberText(tensor).value_or("<torch.Tensor>");
}

void OptionReader::AddOptions(ValueId parent, absl::string_view prefix) {
  const std::vector<ValueId>& items = pickle_.at(pickle_.Fields(parent)).items;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const PickledValue& key = pickle_.at(items[i]);
    if (key.kind != ValueKind::kString) continue;
    const ValueId value = Unwrap(items[i + 1]);
    if (pickle_.at(value).kind == ValueKind::kNone) continue;
    // The options of nested configurations get flat names elsewhere.
    const bool nested = absl::c_linear_search(kNestedOptions, key.text);
    if (nested && pickle_.Fields(value) != kNoneValue) continue;
    if (bytes_ > kMaxBytesOfAll || !too_long_.empty()) return;
    std::string text = OptionText(value, 0);
    if (text.size() >= kMaxOptionBytes) too_long_ = key.text;
    bytes_ += key.text.size() + text.size();
    options_[absl::StrCat(prefix, key.text)] = std::move(text);
  }
}

void OptionReader::AddNestedOptions(ValueId parent) {
  for (const char* name : kNestedOptions) {
    AddOptions(Unwrap(pickle_.Find(parent, name)), absl::StrCat(name, "_"));
  }
}

// Replaces "${model.decoder.embed_dim}" by the value of the option that it names. "???" is
// OmegaConf's mark of a missing value.
void OptionReader::ResolveInterpolations() {
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

// The parts of newer configurations that say how text becomes symbols have options of other parts'
// names, too, such as the languages, so only their own are taken.
void OptionReader::AddTokenizers(ValueId cfg) {
  for (const char* part : {"bpe", "tokenizer"}) {
    std::map<std::string, std::string> others = std::exchange(options_, {});
    AddOptions(Unwrap(pickle_.Find(cfg, part)), "");
    for (const auto& [name, text] : options_) {
      if (name == "_name") others.emplace(part, text);
      if (absl::StartsWith(name, "moses_")) others.emplace(name, text);
    }
    options_ = std::move(others);
  }
}

absl::StatusOr<std::map<std::string, std::string>> OptionReader::Read() {
  // As in fairseq, `args` is used if it is there.
  const ValueId cfg = Unwrap(pickle_.Find(pickle_.root(), "cfg"));
  ValueId model = Unwrap(pickle_.Find(pickle_.root(), "args"));
  if (pickle_.Fields(model) == kNoneValue) model = Unwrap(pickle_.Find(cfg, "model"));
  if (pickle_.Fields(model) == kNoneValue) {
    return absl::InvalidArgumentError(absl::StrCat(
        file_.name(), ": neither `cfg[\"model\"]` nor `args`; not a fairseq checkpoint"));
  }
  // The task's part is read, too: newer configurations keep languages there. The model's part comes
  // last and wins.
  AddOptions(Unwrap(pickle_.Find(cfg, "task")), "");
  const auto task = options_.extract("_name");
  AddTokenizers(cfg);
  AddOptions(model, "");
  AddNestedOptions(model);
  if (!task.empty()) options_.emplace("task", task.mapped());
  if (!too_long_.empty()) {
    return absl::ResourceExhaustedError(
        absl::StrCat(file_.name(), ": option ", absl::CHexEscape(too_long_.substr(0, 100)),
                     " has ", kMaxOptionBytes, " bytes or more"));
  }
  if (bytes_ > kMaxBytesOfAll) {
    return absl::ResourceExhaustedError(
        absl::StrCat(file_.name(), ": more than ", kMaxBytesOfAll, " bytes of options"));
  }
  ResolveInterpolations();
  return std::move(options_);
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ReadOptions(const TorchFile& file) {
  return OptionReader(file).Read();
}

std::vector<std::string> OptionItems(absl::string_view value) {
  return absl::StrSplit(value, absl::ByAnyChar("[](){}'\", \t\r\n"), absl::SkipEmpty());
}

}  // namespace leapstream
