#ifndef LEAPSTREAM_MODEL_FAIRSEQ_PICKLE_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_PICKLE_H_

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
  kOther,  // Complex, quantised, float8, uint16 and what is yet to come: no weights are read of it.
};

int64_t ElementBytes(StorageType type);  // Not of kOther.

struct PickledStorage {
  StorageType type = StorageType::kFloat32;
  std::string other;  // kOther: what torch calls it.
  std::string key;    // Its bytes are the zip entry FOLDER/data/KEY.
  int64_t elements = 0;

  std::string TypeName() const;  // "float32"
};

// A view of a storage. Checked: each element lies inside it, unless it is of kOther; no negative
// size or stride. Sizes and strides are in elements.
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
  kGlobal,  // A name: text is "module.name".
  kRecord,  // An object of any other class, inert: text is "module.name".
};

struct PickledValue {
  ValueKind kind = ValueKind::kNone;
  int64_t integer = 0;  // kBool, kInt; kStorage and kTensor: index.
  double real = 0;      // kFloat.
  std::string text;     // kString (as found, maybe not UTF-8), kBytes, kGlobal, kRecord.
  std::vector<ValueId>
      items;                  // Elements; dict: key, value, key, value ...; record: what was added.
  bool keyed = false;         // Record: `items` are keys and values, as of a subclass of dict.
  ValueId args = kNoneValue;  // Record: what its class was to be called with.
  ValueId state = kNoneValue;  // Record, dict: what __setstate__ was to get.
};

// What a pickle that torch.save() wrote says, with nothing imported and nothing called: tensors and
// collections.OrderedDict are known by name, all other classes become inert records.
class Pickle {
 public:
  // Interprets opcodes of protocol 2 to 5. INVALID_ARGUMENT: an unknown opcode, a cut or damaged
  // pickle, a tensor outside its storage; RESOURCE_EXHAUSTED: more than the limits in pickle.cc.
  static absl::StatusOr<Pickle> Parse(absl::string_view bytes, absl::string_view name);

  ValueId root() const { return root_; }
  const PickledValue& at(ValueId id) const { return values_[id]; }
  const PickledTensor& tensor(const PickledValue& value) const { return tensors_[value.integer]; }

  // The value under a string key of a dict, or of the dict in a record's state; the last one wins.
  // kNoneValue if there is none.
  ValueId Find(ValueId parent, absl::string_view key) const;
  bool Has(ValueId parent, absl::string_view key) const;  // Even if it is None.
  // The value that holds a value's fields, as keys and values in `items`: itself, if it is a dict
  // or of a class made like one, or a record's state (or the first part of it). kNoneValue if there
  // is none.
  ValueId Fields(ValueId id) const;

 private:
  friend class Unpickler;
  Pickle() = default;
  const ValueId* FindEntry(ValueId parent, absl::string_view key) const;

  std::vector<PickledValue> values_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  ValueId root_ = kNoneValue;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_PICKLE_H_
