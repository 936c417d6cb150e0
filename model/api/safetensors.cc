#include "model/api/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/safetensors_writer.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;

// Room for some 100,000 tensors. Bounds the memory that parsing a file can take.
constexpr int64_t kMaxHeaderBytes = 16 << 20;
constexpr int kMaxHeaderDepth = 8;  // Headers have depth 3; deeper values are dropped unread.
constexpr size_t kMaxDimensions = 8;

struct TypeName {
  TensorType type;
  const char* name;
  int64_t bytes;
};
constexpr TypeName kTypes[] = {{TensorType::kFloat32, "F32", 4},
                               {TensorType::kFloat16, "F16", 2},
                               {TensorType::kBfloat16, "BF16", 2},
                               {TensorType::kInt64, "I64", 8}};

const TypeName& Describe(TensorType type) {
  for (const TypeName& each : kTypes) {
    if (each.type == type) return each;
  }
  LEAPSTREAM_CHECK(false);
  return kTypes[0];
}

// Reads an array of exactly `size` (any number, if negative) integers in [0, 2^63).
bool ReadSizes(const Json& parent, const char* key, int size, std::vector<int64_t>* result) {
  const auto found = parent.find(key);
  if (found == parent.end() || !found->is_array()) return false;
  if (found->size() > kMaxDimensions || (size >= 0 && found->size() != size_t(size))) return false;
  for (const Json& value : *found) {
    if (!value.is_number_unsigned()) return false;
    const auto number = value.get<uint64_t>();
    if (number > uint64_t(std::numeric_limits<int64_t>::max())) return false;
    result->push_back(static_cast<int64_t>(number));
  }
  return true;
}

// Sets *result to the bytes of a tensor; returns false on overflow. Shapes hold no negative sizes.
bool ByteSize(const std::vector<int64_t>& shape, int64_t element_bytes, int64_t* result) {
  *result = element_bytes;
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(*result, size, result)) return false;
  }
  return true;
}

}  // namespace

int64_t ElementBytes(TensorType type) { return Describe(type).bytes; }
const char* TypeNameOf(TensorType type) { return Describe(type).name; }

absl::StatusOr<std::unique_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  struct stat status = {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  absl::string_view bytes;
  if (status.st_size > 0) {
    void* address = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return absl::NotFoundError(absl::StrCat(path, ": cannot be mapped: ", std::strerror(error)));
    }
    bytes = absl::string_view(static_cast<const char*>(address), status.st_size);
  }
  close(fd);
  return std::unique_ptr<const MappedFile>(new MappedFile(bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view first, int64_t file_bytes,
                                               absl::string_view name) {
  uint64_t header_bytes = 0;
  if (first.size() < sizeof(header_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": too short for a safetensors file"));
  }
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | uint8_t(first[i]);
  if (header_bytes > uint64_t(kMaxHeaderBytes) || header_bytes > uint64_t(file_bytes - 8)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": header of ", header_bytes, " bytes in a file of ", file_bytes,
                     "; not a safetensors file, or cut short"));
  }
  return static_cast<int64_t>(8 + header_bytes);
}

absl::StatusOr<std::map<std::string, TensorRange>> ParseSafetensorsHeader(
    absl::string_view file_header, int64_t file_bytes, absl::string_view name) {
  const auto error = [name](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", what...));
  };
  const absl::string_view text = file_header.substr(8);
  const auto data_begin = static_cast<int64_t>(file_header.size());
  const int64_t data_bytes = file_bytes - data_begin;
  const Json header = Json::parse(
      text.begin(), text.end(),
      [](int depth, Json::parse_event_t, Json&) { return depth < kMaxHeaderDepth; },
      /*allow_exceptions=*/false);
  if (!header.is_object()) return error("the header is not a JSON object");

  std::map<std::string, TensorRange> tensors;
  std::vector<std::pair<std::pair<int64_t, int64_t>, const std::string*>> ranges;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") continue;
    const std::string shown = absl::CHexEscape(key.substr(0, 200));
    if (!value.is_object()) return error("tensor ", shown, ": not a JSON object");
    TensorRange tensor;
    const auto dtype = value.find("dtype");
    const TypeName* type = nullptr;
    if (dtype != value.end() && dtype->is_string()) {
      for (const TypeName& each : kTypes) {
        if (dtype->get_ref<const std::string&>() == each.name) type = &each;
      }
    }
    if (type == nullptr) {
      const std::string found = dtype != value.end() && dtype->is_string()
                                    ? dtype->get<std::string>() : "";
      return error("tensor ", shown, ": dtype ", Quoted(found),
                   " is none of F32, F16, BF16, I64; a quantised model is not read");
    }
    tensor.type = type->type;
    std::vector<int64_t> range;
    int64_t expected = 0;
    if (!ReadSizes(value, "shape", -1, &tensor.shape) ||
        !ByteSize(tensor.shape, type->bytes, &expected)) {
      return error("tensor ", shown, ": bad shape");
    }
    if (!ReadSizes(value, "data_offsets", 2, &range) || range[0] > range[1] ||
        range[1] > data_bytes) {
      return error("tensor ", shown, ": bad data_offsets, the file has ", data_bytes,
                   " bytes of data");
    }
    if (range[1] - range[0] != expected) {
      return error("tensor ", shown, ": shape needs ", expected, " bytes, data_offsets span ",
                   range[1] - range[0]);
    }
    tensor.offset = data_begin + range[0];
    tensor.bytes = expected;
    const auto inserted = tensors.emplace(key, std::move(tensor)).first;
    ranges.push_back({{range[0], range[1]}, &inserted->first});
  }

  std::sort(ranges.begin(), ranges.end());
  int64_t end = 0;
  for (const auto& [range, key] : ranges) {
    if (range.first != end) {
      return error("tensor ", absl::CHexEscape(key->substr(0, 200)), " starts at ", range.first,
                   ", the one before it ends at ", end);
    }
    end = range.second;
  }
  if (end != data_bytes) {
    return error(data_bytes - end, " bytes at the end belong to no tensor");
  }
  return tensors;
}

absl::StatusOr<std::map<std::string, TensorView>> ParseSafetensors(absl::string_view bytes,
                                                                   absl::string_view name) {
  const auto size = static_cast<int64_t>(bytes.size());
  LEAPSTREAM_ASSIGN_OR_RETURN(const int64_t header, SafetensorsHeaderBytes(bytes, size, name));
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto ranges,
                              ParseSafetensorsHeader(bytes.substr(0, header), size, name));
  std::map<std::string, TensorView> tensors;
  for (const auto& [key, range] : ranges) {
    tensors[key] = {range.type, range.shape, bytes.substr(range.offset, range.bytes)};
  }
  return tensors;
}

absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, TensorView>& tensors) {
  std::map<std::string, TensorHeader> headers;
  for (const auto& [key, tensor] : tensors) {
    int64_t size = 0;
    LEAPSTREAM_CHECK(ByteSize(tensor.shape, ElementBytes(tensor.type), &size) &&
                     uint64_t(size) == tensor.bytes.size());
    headers[key] = {tensor.type, tensor.shape};
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(path, headers));
  for (const std::string& key : writer.order()) writer.Append(tensors.at(key).bytes);
  return writer.Finish();
}

}  // namespace leapstream
