#include "model/engine/weights.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

constexpr int64_t kPart = 1 << 18;  // The numbers that are read at a time.

// Whether no exponent has all its bits set. NaN and infinity have such exponents.
template <typename Bits>
bool IsFinite(const void* values, int64_t count, Bits exponent) {
  const auto* numbers = static_cast<const Bits*>(values);
  Bits found = 0;  // The loop has no branch, so that it runs at the speed of the memory.
  for (int64_t i = 0; i < count; ++i) found |= (numbers[i] & exponent) == exponent ? 1 : 0;
  return found == 0;
}

// Checks the tensor that a layer takes. `found`: the tensor in the file, or null.
absl::Status CheckTensor(const std::string& file, const TensorSpec& wanted,
                         const TensorRange* found) {
  const auto error = [&](absl::string_view what, absl::string_view remedy) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": tensor ", wanted.name, what, "; ", remedy));
  };
  const std::string shape = absl::StrCat("[", absl::StrJoin(wanted.shape, ", "), "]");
  if (found == nullptr) {
    return error(absl::StrCat(" of shape ", shape, " is missing"), "export the checkpoint again");
  }
  if (found->shape != wanted.shape || found->type == TensorType::kInt64) {
    return error(absl::StrCat(" should be floating and of shape ", shape, ", found [",
                              absl::StrJoin(found->shape, ", "), "]"),
                 "export the checkpoint again");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Weights> Weights::Load(const std::string& path, ComputeType compute_type) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto file,
                              FileReader::Open(path, std::numeric_limits<int64_t>::max()));
  return Parse(std::move(file), compute_type);
}

absl::StatusOr<Weights> Weights::Parse(std::shared_ptr<const FileReader> file,
                                       ComputeType compute_type) {
  Weights weights;
  weights.compute_type_ = compute_type;
  weights.file_ = std::move(file);
  const FileReader& reader = *weights.file_;
  std::string header(std::min<int64_t>(reader.size(), 8), '\0');
  LEAPSTREAM_RETURN_IF_ERROR(reader.Read(0, static_cast<int64_t>(header.size()), &header[0]));
  LEAPSTREAM_ASSIGN_OR_RETURN(const int64_t bytes,
                              SafetensorsHeaderBytes(header, reader.size(), reader.path()));
  header.resize(bytes);
  LEAPSTREAM_RETURN_IF_ERROR(reader.Read(0, bytes, &header[0]));
  LEAPSTREAM_ASSIGN_OR_RETURN(weights.ranges_,
                              ParseSafetensorsHeader(header, reader.size(), reader.path()));
  return weights;
}

Weights Weights::Packed(std::shared_ptr<PackedMemory> packed, ComputeType compute_type) {
  Weights weights;
  weights.compute_type_ = compute_type;
  weights.packed_ = std::move(packed);
  return weights;
}

const TensorRange* Weights::Find(const std::string& name, const std::vector<int64_t>& shape) {
  if (names_taken_.insert(name).second) taken_.push_back({name, shape});
  if (file_ == nullptr || !status_.ok()) return nullptr;
  const auto found = ranges_.find(name);
  const TensorRange* const range = found == ranges_.end() ? nullptr : &found->second;
  status_ = CheckTensor(file_->path(), {name, shape}, range);
  return status_.ok() ? range : nullptr;
}

bool Weights::ReadBytes(const TensorRange& tensor, int64_t first, int64_t count, void* out) {
  if (!status_.ok()) return false;
  const int64_t size = ElementBytes(tensor.type);
  status_ = file_->Read(tensor.offset + first * size, count * size, out);
  if (!status_.ok()) return false;
  const uint16_t exponent = tensor.type == TensorType::kFloat16 ? 0x7c00 : 0x7f80;
  if (tensor.type == TensorType::kFloat32 ? IsFinite<uint32_t>(out, count, 0x7f800000)
                                          : IsFinite<uint16_t>(out, count, exponent)) {
    return true;
  }
  const auto named = absl::c_find_if(
      ranges_, [&tensor](const auto& entry) { return entry.second.offset == tensor.offset; });
  status_ = absl::InvalidArgumentError(
      absl::StrCat(file_->path(), ": tensor ", named->first,
                   " should have finite numbers only, found NaN or infinity; the training has "
                   "diverged: export an earlier checkpoint"));
  return false;
}

bool Weights::ReadValues(const TensorRange& tensor, int64_t first, int64_t count, float* out) {
  if (tensor.type == TensorType::kFloat32) return ReadBytes(tensor, first, count, out);
  for (int64_t begin = 0; begin < count; begin += kPart) {
    const int64_t part = std::min(kPart, count - begin);
    halves_.resize(std::max<size_t>(halves_.size(), part));
    if (!ReadBytes(tensor, first + begin, part, halves_.data())) return false;
    for (int64_t i = 0; i < part; ++i) {
      out[begin + i] = tensor.type == TensorType::kFloat16 ? HalfToFloat(halves_[i])
                                                           : Bfloat16ToFloat(halves_[i]);
    }
  }
  return true;
}

Tensor Weights::Take(const std::string& name, const std::vector<int64_t>& shape) {
  const TensorRange* const range = Find(name, shape);
  if (range == nullptr) return Tensor();
  std::vector<float> values(range->bytes / ElementBytes(range->type));
  if (!ReadValues(*range, 0, static_cast<int64_t>(values.size()), values.data())) return Tensor();
  return {shape, std::move(values)};
}

absl::Status Weights::Finish() {
  for (const auto& [name, range] : ranges_) {
    if (!status_.ok()) return status_;
    if (names_taken_.count(name) == 0) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat(file_->path(), ": tensor ", name,
                       " is not part of this architecture; export the checkpoint again"));
    }
  }
  if (status_.ok() && packed_->filled() && !packed_->complete()) {
    status_ = absl::InternalError("the packed weights are those of another network");
  }
  file_ = nullptr;
  halves_ = {};
  return status_;
}

}  // namespace leapstream
