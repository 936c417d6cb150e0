#include "model/torchfile/pickle.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream {
namespace {

// Limits far above any real checkpoint's. Together they bound the memory that parsing can take to
// some hundred MB.
constexpr size_t kMaxPickleBytes = 64 << 20;
constexpr size_t kMaxValues = 1 << 21;
constexpr size_t kMaxStack = 1 << 22;
constexpr size_t kMaxMarks = 10'000;
constexpr size_t kMaxNameBytes = 1'000;
constexpr size_t kMaxDimensions = 8;
constexpr size_t kMaxStorageKeyBytes = 100;
// The most bytes and items that calls in a pickle copy out of their arguments.
constexpr size_t kMaxCopied = 64 << 20;

constexpr ValueId kFalse = 1;
constexpr ValueId kTrue = 2;

struct StorageName {
  StorageType type;
  const char* global;
  const char* name;
  int64_t bytes;
};
// In the order of StorageType.
constexpr StorageName kStorages[] = {
    {StorageType::kFloat32, "torch.FloatStorage", "float32", 4},
    {StorageType::kFloat16, "torch.HalfStorage", "float16", 2},
    {StorageType::kBFloat16, "torch.BFloat16Storage", "bfloat16", 2},
    {StorageType::kFloat64, "torch.DoubleStorage", "float64", 8},
    {StorageType::kInt64, "torch.LongStorage", "int64", 8},
    {StorageType::kInt32, "torch.IntStorage", "int32", 4},
    {StorageType::kInt16, "torch.ShortStorage", "int16", 2},
    {StorageType::kInt8, "torch.CharStorage", "int8", 1},
    {StorageType::kUint8, "torch.ByteStorage", "uint8", 1},
    {StorageType::kBool, "torch.BoolStorage", "bool", 1}};

// Opcodes from CPython's pickletools. The text opcodes of protocols 0 and 1, the extension registry
// and out-of-band buffers are missing: torch never writes them.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersid = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTupleOp = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kDictOp = 'd',
  kListOp = 'l',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96
};

}  // namespace

int64_t ElementBytes(StorageType type) { return kStorages[static_cast<int>(type)].bytes; }
std::string PickledStorage::TypeName() const {
  return type == StorageType::kOther ? other : kStorages[static_cast<int>(type)].name;
}

// The stack machine that interprets one pickle. All state is indices into the result's values, so
// that circular references neither leak nor recurse.
class Unpickler {
 public:
  Unpickler(absl::string_view bytes, absl::string_view name)
      : bytes_(bytes.substr(0, kMaxPickleBytes)),
        cut_(bytes.size() > kMaxPickleBytes),
        name_(name) {
    pickle_.values_.resize(3);
    pickle_.values_[kFalse].kind = pickle_.values_[kTrue].kind = ValueKind::kBool;
    pickle_.values_[kTrue].integer = 1;
  }

  absl::StatusOr<Pickle> Run(size_t* used) {
    if (bytes_.size() < 2 || uint8_t(bytes_[0]) != kProto || bytes_[1] < 2 || bytes_[1] > 5) {
      return Error("not a pickle of protocol 2, 3, 4 or 5");
    }
    at_ = 2;
    while (!stopped_) {
      opcode_at_ = at_;
      uint64_t opcode = 0;
      LEAPSTREAM_RETURN_IF_ERROR(Number(1, &opcode));
      LEAPSTREAM_RETURN_IF_ERROR(Step(static_cast<uint8_t>(opcode)));
      if (pickle_.values_.size() > kMaxValues) return Exhausted("values", kMaxValues);
      if (stack_.size() > kMaxStack) return Exhausted("stack entries", kMaxStack);
      if (marks_.size() > kMaxMarks) return Exhausted("open marks", kMaxMarks);
    }
    *used = at_;
    return std::move(pickle_);
  }

 private:
  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": ", what, " (at byte ", opcode_at_, ")"));
  }
  absl::Status Exhausted(absl::string_view what, size_t limit) const {
    return absl::ResourceExhaustedError(absl::StrCat(name_, ": more than ", limit, " ", what));
  }

  absl::Status Take(uint64_t size, absl::string_view* result) {
    if (size > bytes_.size() - at_) {
      return cut_ ? Exhausted("bytes", kMaxPickleBytes) : Error("cut short");
    }
    *result = bytes_.substr(at_, size);
    at_ += size;
    return absl::OkStatus();
  }
  absl::Status Number(int size, uint64_t* result) {  // Reads a little-endian integer.
    absl::string_view bytes;
    LEAPSTREAM_RETURN_IF_ERROR(Take(size, &bytes));
    *result = 0;
    for (int i = size - 1; i >= 0; --i) *result = *result << 8 | uint8_t(bytes[i]);
    return absl::OkStatus();
  }
  absl::Status TakeLine(std::string* result) {
    const size_t end = bytes_.find('\n', at_);
    if (end == absl::string_view::npos || end - at_ > kMaxNameBytes)
      return Error("bad global name");
    *result = std::string(bytes_.substr(at_, end - at_));
    at_ = end + 1;
    return absl::OkStatus();
  }

  PickledValue& value(ValueId id) { return pickle_.values_[id]; }

  void Push(ValueId id) { stack_.push_back(id); }
  // Pushes a new value. The reference is valid until the next value is made.
  PickledValue& PushNew(ValueKind kind, std::string text = "", std::vector<ValueId> items = {}) {
    Push(pickle_.values_.size());
    PickledValue& result = pickle_.values_.emplace_back();
    result.kind = kind;
    result.text = std::move(text);
    result.items = std::move(items);
    return result;
  }
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  absl::Status Pop(ValueId* result) {
    if (stack_.size() <= Floor()) return Error("stack underflow");
    *result = stack_.back();
    stack_.pop_back();
    return absl::OkStatus();
  }
  absl::Status PopMany(size_t count, std::vector<ValueId>* result) {
    if (stack_.size() - Floor() < count) return Error("stack underflow");
    result->assign(stack_.end() - count, stack_.end());
    stack_.resize(stack_.size() - count);
    return absl::OkStatus();
  }
  absl::Status PopMark(std::vector<ValueId>* result) {
    if (marks_.empty()) return Error("no mark");
    result->assign(stack_.begin() + marks_.back(), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return absl::OkStatus();
  }

  absl::Status PushText(ValueKind kind, int length_bytes) {
    uint64_t size = 0;
    absl::string_view text;
    LEAPSTREAM_RETURN_IF_ERROR(Number(length_bytes, &size));
    LEAPSTREAM_RETURN_IF_ERROR(Take(size, &text));
    PushNew(kind, std::string(text));
    return absl::OkStatus();
  }
  absl::Status PushLong(int length_bytes) {
    uint64_t size = 0;
    absl::string_view text;
    LEAPSTREAM_RETURN_IF_ERROR(Number(length_bytes, &size));
    LEAPSTREAM_RETURN_IF_ERROR(Take(size, &text));
    if (text.size() > 8) {  // Only seeds and states of random generators are so large, no option.
      PushNew(ValueKind::kRecord, "int");
      return absl::OkStatus();
    }
    uint64_t number = !text.empty() && uint8_t(text.back()) >= 0x80 ? ~uint64_t{0} : 0;
    for (size_t i = text.size(); i-- > 0;) number = number << 8 | uint8_t(text[i]);
    PushNew(ValueKind::kInt).integer = static_cast<int64_t>(number);
    return absl::OkStatus();
  }
  absl::Status Memoize(uint64_t key) {
    if (stack_.size() <= Floor()) return Error("stack underflow");
    memo_[key] = stack_.back();
    return absl::OkStatus();
  }
  absl::Status Recall(int key_bytes) {
    uint64_t key = 0;
    LEAPSTREAM_RETURN_IF_ERROR(Number(key_bytes, &key));
    const auto found = memo_.find(key);
    if (found == memo_.end()) return Error("memo entry is missing");
    Push(found->second);
    return absl::OkStatus();
  }

  // Adds items to the object on top of the stack: a dict, a list, a set, or a record whose class is
  // like one of these.
  absl::Status Extend(const std::vector<ValueId>& items, bool pairs) {
    if (stack_.size() <= Floor()) return Error("stack underflow");
    PickledValue& target = value(stack_.back());
    const bool fits = target.kind == ValueKind::kRecord ||
                      (pairs ? target.kind == ValueKind::kDict
                             : target.kind == ValueKind::kList || target.kind == ValueKind::kSet);
    if (!fits || (pairs && items.size() % 2 != 0)) return Error("items for what takes none");
    target.items.insert(target.items.end(), items.begin(), items.end());
    target.keyed = target.keyed || (pairs && target.kind == ValueKind::kRecord);
    return absl::OkStatus();
  }

  // For errors: the string on top of the stack, which is the key if a dict's value is being built.
  std::string AfterKey() const {
    if (stack_.empty()) return "";
    const PickledValue& before = pickle_.values_[stack_.back()];
    if (before.kind != ValueKind::kString) return "";
    return absl::StrCat(" after ", Quoted(before.text));
  }

  absl::Status ReadSizes(ValueId id, std::vector<int64_t>* result) {
    const PickledValue& sizes = value(id);
    if (sizes.kind != ValueKind::kTuple || sizes.items.size() > kMaxDimensions) {
      return Error("bad size or stride of a tensor");
    }
    for (ValueId item : sizes.items) {
      if (value(item).kind != ValueKind::kInt || value(item).integer < 0) {
        return Error("bad size or stride of a tensor");
      }
      result->push_back(value(item).integer);
    }
    return absl::OkStatus();
  }

  // Pushes the tensor of a call of torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
  // requires_grad, hooks, ...), or of _v3, whose seventh argument is the type of a storage of bytes
  // (`typed`).
  absl::Status PushTensor(const std::vector<ValueId>& args, bool typed) {
    if (args.size() < 4 || value(args[0]).kind != ValueKind::kStorage ||
        value(args[1]).kind != ValueKind::kInt || value(args[1]).integer < 0) {
      return Error(
          absl::StrCat("bad arguments of a tensor", AfterKey(),
                       "; expected a storage, an offset of at least 0, sizes and strides"));
    }
    PickledTensor tensor;
    tensor.storage = pickle_.storages_[value(args[0]).integer];
    if (typed && args.size() > 6 && value(args[6]).kind == ValueKind::kGlobal) {
      SetType(value(args[6]).text, &tensor.storage);
    }
    tensor.offset = value(args[1]).integer;
    LEAPSTREAM_RETURN_IF_ERROR(ReadSizes(args[2], &tensor.shape));
    LEAPSTREAM_RETURN_IF_ERROR(ReadSizes(args[3], &tensor.strides));
    if (tensor.shape.size() != tensor.strides.size()) return Error("bad stride of a tensor");
    int64_t elements = 1;
    int64_t end = tensor.offset;  // Becomes the place behind the last element, if there is one.
    bool overflow = __builtin_add_overflow(end, 1, &end);
    bool empty = false;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      empty = empty || tensor.shape[i] == 0;
      int64_t reach = 0;
      overflow = overflow || __builtin_mul_overflow(elements, tensor.shape[i], &elements) ||
                 __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
                 __builtin_add_overflow(end, reach, &end);
    }
    const bool known = tensor.storage.type != StorageType::kOther;
    if (overflow || (known && !empty && end > tensor.storage.elements)) {
      return Error(absl::StrCat("a tensor", AfterKey(), " reaches outside its storage ",
                                tensor.storage.key, ": offset ", tensor.offset, ", shape [",
                                absl::StrJoin(tensor.shape, ", "), "], strides [",
                                absl::StrJoin(tensor.strides, ", "), "], but the storage has ",
                                tensor.storage.elements, " elements"));
    }
    PushNew(ValueKind::kTensor).integer = pickle_.tensors_.size();
    pickle_.tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Makes a storage of bytes one of elements of the type `dtype`, such as "torch.float32".
  static void SetType(absl::string_view dtype, PickledStorage* storage) {
    storage->other = std::string(absl::StripPrefix(dtype, "torch."));
    for (const StorageName& each : kStorages) {
      if (storage->other != each.name || storage->type != StorageType::kOther) continue;
      storage->type = each.type;
      storage->elements /= each.bytes;
      return;
    }
  }

  // Pushes the storage of a persistent id ("storage", torch.FloatStorage, key, device, elements).
  // In PyTorch's format from before 1.6 a sixth member follows, which is None unless the storage is
  // a view of another. Any other persistent id becomes an inert record.
  void PushPersistent(ValueId id) {
    const size_t size = value(id).items.size();
    if (size > 0 && value(value(id).items[0]).text == "module") {
      pickle_.unread_objects_ = "a pickled module";
    }
    std::vector<ValueId> items(5);
    if (size == 5 || size == 6) {
      items.assign(value(id).items.begin(), value(id).items.begin() + 5);
      if (size == 6 && value(value(id).items[5]).kind != ValueKind::kNone) {
        pickle_.unread_objects_ = "a storage that is a view of another";
        items.assign(5, kNoneValue);
      }
    }
    if (value(id).kind == ValueKind::kTuple && value(items[0]).kind == ValueKind::kString &&
        value(items[0]).text == "storage" && value(items[1]).kind == ValueKind::kGlobal &&
        value(items[2]).kind == ValueKind::kString &&
        value(items[2]).text.size() <= kMaxStorageKeyBytes &&
        value(items[4]).kind == ValueKind::kInt && value(items[4]).integer >= 0) {
      // A storage of a GPU has the same bytes in the file.
      const std::string name =
          absl::StrReplaceAll(value(items[1]).text, {{"torch.cuda.", "torch."}});
      for (const StorageName& each : kStorages) {
        if (name == each.global) return PushStorage(each.type, items);
      }
      if (absl::StartsWith(name, "torch.") && absl::EndsWith(name, "Storage")) {
        return PushStorage(StorageType::kOther, items);
      }
    }
    PushNew(ValueKind::kRecord, "persistent id").args = id;
  }

  // `items`: those of the persistent id, which have been checked.
  void PushStorage(StorageType type, const std::vector<ValueId>& items) {
    PickledStorage storage{type, "", value(items[2]).text, value(items[4]).integer};
    if (type == StorageType::kOther) {
      storage.other = value(items[1]).text;
      if (storage.other == "torch.ComplexFloatStorage") storage.other = "complex64";
      if (storage.other == "torch.ComplexDoubleStorage") storage.other = "complex128";
    }
    pickle_.storages_.push_back(std::move(storage));
    PushNew(ValueKind::kStorage).integer = pickle_.storages_.size() - 1;
  }

  absl::Status Call(ValueId callable, ValueId args_id) {
    const ValueKind kind = value(callable).kind;
    if (kind != ValueKind::kGlobal && kind != ValueKind::kRecord) return Error("call of no class");
    if (value(args_id).kind != ValueKind::kTuple) return Error("arguments that are no tuple");
    copied_ += value(callable).text.size() + value(args_id).items.size();
    if (!value(args_id).items.empty()) copied_ += value(value(args_id).items[0]).items.size();
    if (copied_ > kMaxCopied) return Exhausted("bytes in arguments", kMaxCopied);
    std::string text = value(callable).text;
    std::vector<ValueId> args = value(args_id).items;
    if (kind == ValueKind::kGlobal) {
      // This call makes a subclass of torch.Tensor. Its arguments: a function that makes the
      // tensor, the class, the function's arguments, a state.
      if (text == "torch._tensor._rebuild_from_type_v2" && args.size() > 2 &&
          value(args[0]).kind == ValueKind::kGlobal && value(args[2]).kind == ValueKind::kTuple) {
        copied_ += value(args[0]).text.size() + value(args[2]).items.size();
        if (copied_ > kMaxCopied) return Exhausted("bytes in arguments", kMaxCopied);
        text = value(args[0]).text;
        args = std::vector<ValueId>(value(args[2]).items);
      }
      // A tensor whose storage is an inert record is an inert record, too.
      const bool inert = !args.empty() && value(args[0]).kind == ValueKind::kRecord;
      // The name without a version is of PyTorch before 0.4.
      if ((text == "torch._utils._rebuild_tensor_v2" || text == "torch._utils._rebuild_tensor") &&
          !inert) {
        return PushTensor(args, false);
      }
      if (text == "torch._utils._rebuild_tensor_v3" && !inert) return PushTensor(args, true);
      if ((text == "torch._utils._rebuild_parameter" ||
           text == "torch._utils._rebuild_parameter_with_state") &&
          !args.empty()) {
        Push(args[0]);
        return absl::OkStatus();
      }
      if (text == "collections.OrderedDict") return PushOrderedDict(args);
      if (text == "builtins.set" || text == "__builtin__.set" || text == "builtins.frozenset" ||
          text == "__builtin__.frozenset") {
        PushNew(ValueKind::kSet, "", args.empty() ? args : value(args[0]).items);
        return absl::OkStatus();
      }
    }
    PushNew(ValueKind::kRecord, text).args = args_id;
    return absl::OkStatus();
  }

  absl::Status PushOrderedDict(const std::vector<ValueId>& args) {
    std::vector<ValueId> items;
    if (!args.empty()) {
      for (ValueId pair : value(args[0]).items) {
        if (value(pair).items.size() != 2) return Error("bad arguments of collections.OrderedDict");
        items.insert(items.end(), value(pair).items.begin(), value(pair).items.end());
      }
    }
    PushNew(ValueKind::kDict, "", std::move(items));
    return absl::OkStatus();
  }

  absl::Status Build() {
    ValueId state = 0;
    LEAPSTREAM_RETURN_IF_ERROR(Pop(&state));
    if (stack_.size() <= Floor()) return Error("stack underflow");
    PickledValue& target = value(stack_.back());
    if (target.kind != ValueKind::kRecord && target.kind != ValueKind::kDict) {
      return Error("state for what takes none");
    }
    target.state = state;
    return absl::OkStatus();
  }

  absl::Status Step(uint8_t opcode) {
    uint64_t number = 0;
    ValueId first = 0, second = 0;
    std::vector<ValueId> items;
    switch (opcode) {
      case kProto:
        return Number(1, &number);
      case kFrame:
        return Number(8, &number);
      case kStop:
        LEAPSTREAM_RETURN_IF_ERROR(Pop(&pickle_.root_));
        stopped_ = true;
        return absl::OkStatus();

      case kMark:
        marks_.push_back(stack_.size());
        return absl::OkStatus();
      case kPop:
        if (stack_.size() > Floor() || marks_.empty()) return Pop(&first);
        marks_.pop_back();
        return absl::OkStatus();
      case kPopMark:
        return PopMark(&items);
      case kDup:
        if (stack_.size() <= Floor()) return Error("stack underflow");
        Push(stack_.back());
        return absl::OkStatus();

      case kNone:
        Push(kNoneValue);
        return absl::OkStatus();
      case kNewTrue:
        Push(kTrue);
        return absl::OkStatus();
      case kNewFalse:
        Push(kFalse);
        return absl::OkStatus();
      case kBinInt:
        LEAPSTREAM_RETURN_IF_ERROR(Number(4, &number));
        PushNew(ValueKind::kInt).integer = static_cast<int32_t>(number);
        return absl::OkStatus();
      case kBinInt1:
      case kBinInt2:
        LEAPSTREAM_RETURN_IF_ERROR(Number(opcode == kBinInt1 ? 1 : 2, &number));
        PushNew(ValueKind::kInt).integer = number;
        return absl::OkStatus();
      case kLong1:
        return PushLong(1);
      case kLong4:
        return PushLong(4);
      case kBinFloat: {  // The only big-endian number.
        LEAPSTREAM_RETURN_IF_ERROR(Number(8, &number));
        number = __builtin_bswap64(number);
        double real = 0;
        std::memcpy(&real, &number, sizeof(real));
        PushNew(ValueKind::kFloat).real = real;
        return absl::OkStatus();
      }
      case kShortBinUnicode:
        return PushText(ValueKind::kString, 1);
      case kBinUnicode:
        return PushText(ValueKind::kString, 4);
      case kBinUnicode8:
        return PushText(ValueKind::kString, 8);
      case kShortBinString:
        return PushText(ValueKind::kString, 1);
      case kBinString:
        return PushText(ValueKind::kString, 4);
      case kShortBinBytes:
        return PushText(ValueKind::kBytes, 1);
      case kBinBytes:
        return PushText(ValueKind::kBytes, 4);
      case kBinBytes8:
      case kByteArray8:
        return PushText(ValueKind::kBytes, 8);

      case kEmptyTuple:
        PushNew(ValueKind::kTuple);
        return absl::OkStatus();
      case kEmptyList:
        PushNew(ValueKind::kList);
        return absl::OkStatus();
      case kEmptyDict:
        PushNew(ValueKind::kDict);
        return absl::OkStatus();
      case kEmptySet:
        PushNew(ValueKind::kSet);
        return absl::OkStatus();
      case kTuple1:
      case kTuple2:
      case kTuple3:
        LEAPSTREAM_RETURN_IF_ERROR(PopMany(opcode - kTuple1 + 1, &items));
        PushNew(ValueKind::kTuple, "", std::move(items));
        return absl::OkStatus();
      case kTupleOp:
      case kListOp:
      case kFrozenSet:
      case kDictOp:
        LEAPSTREAM_RETURN_IF_ERROR(PopMark(&items));
        if (opcode == kDictOp && items.size() % 2 != 0) return Error("a key without value");
        PushNew(opcode == kTupleOp     ? ValueKind::kTuple
                : opcode == kListOp    ? ValueKind::kList
                : opcode == kFrozenSet ? ValueKind::kSet
                                       : ValueKind::kDict,
                "", std::move(items));
        return absl::OkStatus();

      case kAppend:
      case kSetItem:
        LEAPSTREAM_RETURN_IF_ERROR(PopMany(opcode == kAppend ? 1 : 2, &items));
        return Extend(items, opcode == kSetItem);
      case kAppends:
      case kAddItems:
      case kSetItems:
        LEAPSTREAM_RETURN_IF_ERROR(PopMark(&items));
        return Extend(items, opcode == kSetItems);

      case kBinPut:
      case kLongBinPut:
        LEAPSTREAM_RETURN_IF_ERROR(Number(opcode == kBinPut ? 1 : 4, &number));
        return Memoize(number);
      case kMemoize:
        return Memoize(memo_.size());
      case kBinGet:
        return Recall(1);
      case kLongBinGet:
        return Recall(4);

      case kGlobalOp: {
        std::string module, name;
        LEAPSTREAM_RETURN_IF_ERROR(TakeLine(&module));
        LEAPSTREAM_RETURN_IF_ERROR(TakeLine(&name));
        PushNew(ValueKind::kGlobal, absl::StrCat(module, ".", name));
        return absl::OkStatus();
      }
      case kStackGlobal: {
        LEAPSTREAM_RETURN_IF_ERROR(PopMany(2, &items));
        const PickledValue& module = value(items[0]);
        const PickledValue& name = value(items[1]);
        if (module.kind != ValueKind::kString || name.kind != ValueKind::kString ||
            module.text.size() > kMaxNameBytes || name.text.size() > kMaxNameBytes) {
          return Error("bad global name");
        }
        PushNew(ValueKind::kGlobal, absl::StrCat(module.text, ".", name.text));
        return absl::OkStatus();
      }
      case kNewObjEx:  // Its operands: class, arguments, keyword arguments.
        LEAPSTREAM_RETURN_IF_ERROR(Pop(&first));
        [[fallthrough]];
      case kNewObj:
      case kReduce:
        LEAPSTREAM_RETURN_IF_ERROR(Pop(&second));
        LEAPSTREAM_RETURN_IF_ERROR(Pop(&first));
        return Call(first, second);
      case kBuild:
        return Build();
      case kBinPersid:
        LEAPSTREAM_RETURN_IF_ERROR(Pop(&first));
        PushPersistent(first);
        return absl::OkStatus();
      default:
        return Error(absl::StrCat("unknown pickle opcode 0x", absl::Hex(opcode, absl::kZeroPad2)));
    }
  }

  const absl::string_view bytes_;
  const bool cut_;  // There are more bytes than a pickle may have.
  const std::string name_;
  size_t at_ = 0;
  size_t opcode_at_ = 0;
  bool stopped_ = false;
  size_t copied_ = 0;
  Pickle pickle_;
  std::vector<ValueId> stack_;
  std::vector<size_t> marks_;  // Sizes that the stack had at marks, none above its present size.
  std::unordered_map<uint64_t, ValueId> memo_;
};

absl::StatusOr<Pickle> Pickle::Parse(absl::string_view bytes, absl::string_view name) {
  if (bytes.size() > kMaxPickleBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, ": more than ", kMaxPickleBytes, " bytes"));
  }
  size_t used = 0;
  return ParseFirst(bytes, name, &used);
}

absl::StatusOr<Pickle> Pickle::ParseFirst(absl::string_view bytes, absl::string_view name,
                                          size_t* used) {
  return Unpickler(bytes, name).Run(used);
}

ValueId Pickle::Fields(ValueId id) const {
  if (at(id).kind == ValueKind::kDict || at(id).keyed) return id;
  if (at(id).kind != ValueKind::kRecord) return kNoneValue;
  ValueId state = at(id).state;
  // The state of a class with __slots__ is (dict or None, dict).
  if (at(state).kind == ValueKind::kTuple && !at(state).items.empty()) state = at(state).items[0];
  return at(state).kind == ValueKind::kDict ? state : kNoneValue;
}

const ValueId* Pickle::FindEntry(ValueId parent, absl::string_view key) const {
  const std::vector<ValueId>& items = at(Fields(parent)).items;
  for (size_t i = items.size(); i >= 2; i -= 2) {
    const PickledValue& candidate = at(items[i - 2]);
    if (candidate.kind == ValueKind::kString && candidate.text == key) return &items[i - 1];
  }
  return nullptr;
}

ValueId Pickle::Find(ValueId parent, absl::string_view key) const {
  const ValueId* const found = FindEntry(parent, key);
  return found == nullptr ? kNoneValue : *found;
}

bool Pickle::Has(ValueId parent, absl::string_view key) const {
  return FindEntry(parent, key) != nullptr;
}

}  // namespace leapstream
