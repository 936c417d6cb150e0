#ifndef LEAPSTREAM_MODEL_TORCHFILE_PICKLE_H_
#define LEAPSTREAM_MODEL_TORCHFILE_PICKLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// torch's types of elements.
enum class StorageType {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUint8,
  kBool,
  kOther,  // Complex, quantised, float8, uint16 and later types. No weights are read from these.
};

int64_t ElementBytes(StorageType type);  // REQUIRES: not kOther.

struct PickledStorage {
  StorageType type = StorageType::kFloat32;
  std::string other;  // torch's name of the type, for kOther.
  std::string key;    // The storage's name in its file.
  int64_t elements = 0;

  std::string TypeName() const;  // "float32"
};

// A view of a storage. It has been checked: no size and no stride is negative, and each element
// lies inside the storage, unless the type is kOther. Offset and strides are in elements.
struct PickledTensor {
  PickledStorage storage;
  int64_t offset = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

// An index into Pickle's values. Values may refer to each other in circles.
using ValueId = uint32_t;
inline constexpr ValueId kNoneValue = 0;

enum class ValueKind {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kBytes,
  kList,
  kTuple,
  kDict,
  kSet,
  kStorage,
  kTensor,
  kGlobal,  // The name of a class or function: text is "module.name".
  kRecord,  // An inert object of any other class, whose name is in text: "module.name".
};

struct PickledValue {
  ValueKind kind = ValueKind::kNone;
  int64_t integer = 0;  // The value of kBool and kInt; the index of kStorage and kTensor.
  double real = 0;      // The value of kFloat.
  std::string text;     // For kString (maybe not UTF-8), kBytes, kGlobal, kRecord.
  // The elements; in a dict: key, value, key, value ...; in a record: the elements added to it.
  std::vector<ValueId> items;
  bool keyed = false;          // A record's `items` are keys and values, as in a subclass of dict.
  ValueId args = kNoneValue;   // The arguments of the call that makes a record.
  ValueId state = kNoneValue;  // The argument of a record's or dict's __setstate__.
};

// The values of a pickle that torch.save() wrote. Nothing is imported and nothing is called:
// tensors and collections.OrderedDict are known by name, all other classes become inert records.
class Pickle {
 public:
  // Interprets a pickle of protocol 2 to 5, which messages call `name`. INVALID_ARGUMENT: an
  // unknown opcode, a cut or damaged pickle, a tensor outside its storage; RESOURCE_EXHAUSTED: more
  // than the limits in pickle.cc.
  static absl::StatusOr<Pickle> Parse(absl::string_view bytes, absl::string_view name);
  // Interprets the pickle that `bytes` begin with, and sets *used to its length. Errors: those of
  // Parse().
  static absl::StatusOr<Pickle> ParseFirst(absl::string_view bytes, absl::string_view name,
                                           size_t* used);
  // A pickle of None.
  Pickle() : values_(1) {}

  ValueId root() const { return root_; }
  const PickledValue& at(ValueId id) const { return values_[id]; }
  const PickledTensor& tensor(const PickledValue& value) const { return tensors_[value.integer]; }
  // The storages as the pickle names them. One key may be there several times.
  const std::vector<PickledStorage>& storages() const { return storages_; }
  // A few words on an object that only PyTorch's format from before 1.6 has and that is not read: a
  // module, or a storage that is a view of another. Empty: there is none.
  const std::string& unread_objects() const { return unread_objects_; }

  // The last value under a string key of a dict, or of the dict in a record's state. kNoneValue if
  // there is none.
  ValueId Find(ValueId parent, absl::string_view key) const;
  bool Has(ValueId parent, absl::string_view key) const;  // True even if the value is None.
  // The value that holds the fields of value `id`, as keys and values in `items`: the value itself
  // if it is a dict or of a class like one, or a record's state (or the first part of that).
  // kNoneValue if there is none.
  ValueId Fields(ValueId id) const;

 private:
  friend class Unpickler;
  const ValueId* FindEntry(ValueId parent, absl::string_view key) const;

  std::vector<PickledValue> values_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  std::string unread_objects_;
  ValueId root_ = kNoneValue;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCHFILE_PICKLE_H_
