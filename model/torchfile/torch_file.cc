#include "model/torchfile/torch_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

constexpr absl::string_view kZipSignature("PK\3\4", 4);
// The number that the old format begins with, 0x1950a86a20f9469cfc6c, as a pickle has it.
constexpr absl::string_view kMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
constexpr int kProtocolVersion = 1001;
constexpr size_t kCountBytes = 8;  // A storage of the old format begins with its element count.

// The bytes of an element of a storage that no weights are read from. 0: not known.
int64_t OtherBytes(absl::string_view type) {
  constexpr std::pair<absl::string_view, int64_t> kBytes[] = {
      {"complex64", 8},          {"complex128", 16},           {"torch.QInt8Storage", 1},
      {"torch.QUInt8Storage", 1}, {"torch.QInt32Storage", 4},   {"torch.UntypedStorage", 1},
      {"torch.QUInt4x2Storage", 1}, {"torch.QUInt2x4Storage", 1}};
  for (const auto& [name, bytes] : kBytes) {
    if (type == name) return bytes;
  }
  return 0;
}

bool IsOld(absl::string_view bytes) {
  // A pickle of protocol 4 has a frame of 9 bytes in front of the number.
  return bytes.size() > 2 && bytes[0] == '\x80' &&
         absl::StrContains(bytes.substr(0, 2 + 9 + kMagic.size()), kMagic);
}

// The numbers of `count` elements, `stride` elements apart.
template <typename Number>
void Convert(const char* bytes, StorageType type, bool swap, int64_t stride, int64_t count,
             Number* values) {
  const auto size = static_cast<int>(ElementBytes(type));
  if (sizeof(Number) == sizeof(float) && type == StorageType::kFloat32 && !swap && stride == 1) {
    std::memcpy(values, bytes, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<Number>(RealOf(type, BitsOf(bytes + i * stride * size, size, swap)));
  }
}

}  // namespace

uint64_t BitsOf(const char* bytes, int size, bool swap) {
  uint64_t bits = 0;
  for (int i = 0; i < size; ++i) {
    bits |= uint64_t{uint8_t(bytes[i])} << 8 * (swap ? size - 1 - i : i);
  }
  return bits;
}

double RealOf(StorageType type, uint64_t bits) {
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

int64_t ElementsOf(const PickledTensor& tensor) {
  int64_t count = 1;
  for (const int64_t size : tensor.shape) count *= size;
  return count;
}

struct TorchFile::Storages {
  absl::Mutex mutex;
  std::map<std::string, absl::string_view> bytes ABSL_GUARDED_BY(mutex);  // By key.
};

TorchFile::TorchFile(absl::string_view bytes, absl::string_view name)
    : bytes_(bytes), name_(name), storages_(std::make_unique<Storages>()) {}
TorchFile::~TorchFile() = default;
TorchFile::TorchFile(TorchFile&&) noexcept = default;
TorchFile& TorchFile::operator=(TorchFile&&) noexcept = default;

absl::Status TorchFile::Error(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", what));
}

absl::StatusOr<TorchFile> TorchFile::Parse(absl::string_view bytes, absl::string_view name) {
  TorchFile file(bytes, name);
  if (absl::StartsWith(bytes, kZipSignature)) {
    LEAPSTREAM_RETURN_IF_ERROR(file.ParseZip());
  } else if (IsOld(bytes)) {
    LEAPSTREAM_RETURN_IF_ERROR(file.ParseOld());
  } else if (absl::StartsWith(bytes, "version https://git-lfs")) {
    return file.Error("a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`");
  } else {
    return file.Error(
        "not a PyTorch checkpoint: neither a zip file nor a file of PyTorch before 1.6");
  }
  return file;
}

absl::Status TorchFile::ParseZip() {
  LEAPSTREAM_ASSIGN_OR_RETURN(archive_, ZipArchive::Parse(bytes_, name_));
  LEAPSTREAM_ASSIGN_OR_RETURN(folder_, archive_->TorchFolder());
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view pickled,
                              archive_->Read(folder_ + "/data.pkl"));
  LEAPSTREAM_ASSIGN_OR_RETURN(
      pickle_, Pickle::Parse(pickled, absl::StrCat(name_, ": ", folder_, "/data.pkl")));
  if (!archive_->Has(folder_ + "/byteorder")) return absl::OkStatus();
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view order,
                              archive_->Read(folder_ + "/byteorder"));
  if (order != "little" && order != "big") return Error("unknown byte order");
  big_endian_ = order == "big";
  return absl::OkStatus();
}

// Five pickles follow each other: the magic number, the version, the machine, the object and the
// keys of its storages. The storages follow in the order of the keys.
absl::Status TorchFile::ParseOld() {
  absl::string_view rest = bytes_;
  const auto next = [&rest, this](absl::string_view part) -> absl::StatusOr<Pickle> {
    size_t used = 0;
    auto pickle = Pickle::ParseFirst(rest, absl::StrCat(name_, ": ", part), &used);
    if (pickle.ok()) rest.remove_prefix(used);
    return pickle;
  };
  LEAPSTREAM_RETURN_IF_ERROR(next("magic number").status());
  LEAPSTREAM_ASSIGN_OR_RETURN(const Pickle version, next("version"));
  if (version.at(version.root()).integer != kProtocolVersion) {
    return absl::UnimplementedError(
        absl::StrCat(name_, ": version ", version.at(version.root()).integer,
                     " of PyTorch's format from before 1.6; known: ", kProtocolVersion));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const Pickle machine, next("machine"));
  const PickledValue& little = machine.at(machine.Find(machine.root(), "little_endian"));
  if (little.kind != ValueKind::kBool) return Error("does not say its byte order; damaged");
  if (little.integer == 0) {
    return absl::UnimplementedError(absl::StrCat(
        name_, ": written by PyTorch before 1.6 on a big-endian machine; load and save it again "
               "with PyTorch 1.6 or later"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(pickle_, next("object"));
  if (!pickle_.unread_objects().empty()) {
    return absl::UnimplementedError(absl::StrCat(
        name_, ": holds ", pickle_.unread_objects(),
        ", which is not read; save the module's state_dict() instead of the module"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const Pickle keys, next("list of storages"));

  std::map<absl::string_view, const PickledStorage*> known;
  for (const PickledStorage& storage : pickle_.storages()) {
    const PickledStorage*& first = known.emplace(storage.key, &storage).first->second;
    if (first->type != storage.type || first->other != storage.other ||
        first->elements != storage.elements) {
      return Error(absl::StrCat("storage ", absl::CHexEscape(storage.key),
                                " has two types or lengths; damaged"));
    }
  }
  if (keys.at(keys.root()).kind != ValueKind::kList) return Error("no list of storages; damaged");
  absl::MutexLock lock(&storages_->mutex);
  for (const ValueId id : keys.at(keys.root()).items) {
    const std::string& key = keys.at(id).text;
    const std::string shown = absl::CHexEscape(key.substr(0, 100));
    const auto found = known.find(key);
    if (keys.at(id).kind != ValueKind::kString || found == known.end()) {
      return Error(absl::StrCat("storage ", shown, " belongs to no tensor; damaged"));
    }
    const PickledStorage& storage = *found->second;
    const int64_t element = storage.type == StorageType::kOther ? OtherBytes(storage.other)
                                                                : ElementBytes(storage.type);
    if (element == 0) {
      return absl::UnimplementedError(absl::StrCat(name_, ": storage ", shown, " is of the type ",
                                                   absl::CHexEscape(storage.other.substr(0, 100)),
                                                   ", which is not known"));
    }
    if (rest.size() < kCountBytes) return Error(absl::StrCat("cut short before storage ", shown));
    const uint64_t count = BitsOf(rest.data(), kCountBytes, false);
    rest.remove_prefix(kCountBytes);
    if (count != static_cast<uint64_t>(storage.elements)) {
      return Error(absl::StrCat("storage ", shown, " has ", count, " elements, its tensors say ",
                                storage.elements, "; damaged"));
    }
    if (count > rest.size() / element) {
      return Error(absl::StrCat("cut short in storage ", shown, ", which has ", count,
                                " elements of ", element, " bytes"));
    }
    if (!storages_->bytes.emplace(key, rest.substr(0, count * element)).second) {
      return Error(absl::StrCat("storage ", shown, " is there twice; damaged"));
    }
    rest.remove_prefix(count * element);
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> TorchFile::Bytes(const PickledStorage& storage) const {
  {
    absl::MutexLock lock(&storages_->mutex);
    const auto found = storages_->bytes.find(storage.key);
    if (found != storages_->bytes.end()) return found->second;
  }
  if (!archive_.has_value()) {
    return Error(absl::StrCat("storage ", absl::CHexEscape(storage.key), " is missing; damaged"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view bytes,
                              archive_->Read(absl::StrCat(folder_, "/data/", storage.key)));
  absl::MutexLock lock(&storages_->mutex);
  storages_->bytes.emplace(storage.key, bytes);
  return bytes;
}

absl::StatusOr<std::map<std::string, PickledTensor>> TorchFile::Tensors(
    ValueId dict, absl::string_view what) const {
  std::map<std::string, PickledTensor> result;
  const PickledValue& fields = pickle_.at(pickle_.Fields(dict));
  for (size_t i = 0; i + 1 < fields.items.size(); i += 2) {
    const PickledValue& key = pickle_.at(fields.items[i]);
    const PickledValue& value = pickle_.at(fields.items[i + 1]);
    if (key.kind != ValueKind::kString || value.kind != ValueKind::kTensor) {
      const bool named = key.kind == ValueKind::kString;
      return Error(absl::StrCat(what, " has an entry that is no tensor under a name: ",
                                named ? absl::CHexEscape(key.text.substr(0, 100)) : "no name",
                                named && value.kind == ValueKind::kRecord
                                    ? absl::StrCat(
                                          " (", absl::CHexEscape(value.text.substr(0, 100)), ")")
                                    : ""));
    }
    result[key.text] = pickle_.tensor(value);
  }
  return result;
}

template <typename Number>
absl::Status TorchFile::ReadNumbers(const PickledTensor& tensor, absl::string_view what,
                                    int64_t first, absl::Span<Number> values) const {
  const auto error = [&](const auto&... text) {
    return Error(absl::StrCat(what, ": ", text...));
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
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view bytes, Bytes(storage));
  const int64_t element_bytes = ElementBytes(storage.type);
  if (storage.elements != static_cast<int64_t>(bytes.size()) / element_bytes ||
      bytes.size() % element_bytes != 0) {
    return error("needs ", storage.elements, " numbers, its storage has ", bytes.size(), " bytes");
  }
  const int64_t count = ElementsOf(tensor);
  // With a stride of 0 a tensor of any size could be made from one number. No real checkpoint has
  // such a parameter.
  if (count > storage.elements) return error("larger than its storage");
  const auto wanted = static_cast<int64_t>(values.size());
  if (first < 0 || first > count - wanted) {
    return error("has no elements [", first, ", ", first + wanted, ")");
  }

  std::vector<int64_t> shape = tensor.shape, strides = tensor.strides;
  if (shape.empty()) shape = strides = {1};
  std::vector<int64_t> index(shape.size());
  int64_t left = first;
  int64_t at = tensor.offset;
  for (size_t d = shape.size(); d-- > 0 && wanted > 0;) {
    index[d] = left % shape[d];
    left /= shape[d];
    at += index[d] * strides[d];
  }
  for (int64_t done = 0; done < wanted;) {
    const int64_t run = std::min(shape.back() - index.back(), wanted - done);
    Number* const part = values.data() + done;
    Convert(bytes.data() + at * element_bytes, storage.type, big_endian_, strides.back(), run,
            part);
    for (int64_t i = 0; i < run; ++i) {
      if (!std::isfinite(part[i])) return error("number ", first + done + i, " is not finite");
    }
    done += run;
    if (done == wanted) break;
    at -= strides.back() * index.back();
    index.back() = 0;
    for (size_t d = shape.size() - 1; d-- > 0;) {
      if (++index[d] < shape[d]) {
        at += strides[d];
        break;
      }
      at -= strides[d] * (shape[d] - 1);
      index[d] = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status TorchFile::Read(const PickledTensor& tensor, absl::string_view what, int64_t first,
                             absl::Span<float> values) const {
  return ReadNumbers(tensor, what, first, values);
}
absl::Status TorchFile::Read(const PickledTensor& tensor, absl::string_view what, int64_t first,
                             absl::Span<double> values) const {
  return ReadNumbers(tensor, what, first, values);
}

std::optional<std::string> TorchFile::NumberText(const PickledTensor& tensor) const {
  for (const int64_t size : tensor.shape) {
    if (size != 1) return std::nullopt;
  }
  const PickledStorage& storage = tensor.storage;
  if (storage.type == StorageType::kOther) return std::nullopt;
  const auto bytes = Bytes(storage);
  const auto size = static_cast<int>(ElementBytes(storage.type));
  if (!bytes.ok() || static_cast<int64_t>(bytes->size()) / size <= tensor.offset) {
    return std::nullopt;
  }
  const uint64_t bits = BitsOf(bytes->data() + tensor.offset * size, size, big_endian_);
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
      return absl::StrCat(RealOf(storage.type, bits));
  }
}

}  // namespace leapstream
