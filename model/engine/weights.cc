#include "model/engine/weights.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

// Whether no exponent has all its bits set. NaN and infinity have such exponents.
template <typename Bits>
bool IsFinite(absl::string_view bytes, Bits exponent) {
  const auto* numbers = reinterpret_cast<const Bits*>(bytes.data());
  const size_t count = bytes.size() / sizeof(Bits);
  Bits found = 0;  // The loop has no branch, so that it runs at the speed of the memory.
  for (size_t i = 0; i < count; ++i) found |= (numbers[i] & exponent) == exponent ? 1 : 0;
  return found == 0;
}
bool IsFinite(const TensorView& view) {
  if (view.type == TensorType::kFloat32) return IsFinite<uint32_t>(view.bytes, 0x7f800000);
  return IsFinite<uint16_t>(view.bytes, view.type == TensorType::kFloat16 ? 0x7c00 : 0x7f80);
}

// Checks the tensor that a layer takes. `found`: the tensor in the file, or null.
absl::Status CheckTensor(const std::string& file, const TensorSpec& wanted,
                         const TensorView* found) {
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
  if (!IsFinite(*found)) {
    return error(" should have finite numbers only, found NaN or infinity",
                 "the training has diverged: export an earlier checkpoint");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Weights> Weights::Load(const std::string& path, ComputeType compute_type) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto file,
                              FileBytes::Read(path, std::numeric_limits<int64_t>::max()));
  return Parse(std::move(file), path, compute_type);
}

absl::StatusOr<Weights> Weights::Parse(std::shared_ptr<FileBytes> file, const std::string& name,
                                       ComputeType compute_type) {
  Weights weights;
  weights.compute_type_ = compute_type;
  weights.name_ = name;
  weights.file_ = std::move(file);
  LEAPSTREAM_ASSIGN_OR_RETURN(weights.views_, ParseSafetensors(weights.file_->bytes(), name));
  return weights;
}

Tensor Weights::Take(const std::string& name, const std::vector<int64_t>& shape) {
  const bool first = names_taken_.insert(name).second;
  if (first) taken_.push_back({name, shape});
  if (file_ == nullptr || !status_.ok()) return Tensor();
  const auto found = views_.find(name);
  const TensorView* const view = found == views_.end() ? nullptr : &found->second;
  // A tensor that is taken again has been checked already, unless another shape is wanted now.
  if (first || view->shape != shape) status_ = CheckTensor(name_, {name, shape}, view);
  if (!status_.ok()) return Tensor();
  if (view->type == TensorType::kFloat32) {
    return {view->shape, reinterpret_cast<const float*>(view->bytes.data())};
  }
  const auto* halves = reinterpret_cast<const uint16_t*>(view->bytes.data());
  std::vector<float> values(view->bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = view->type == TensorType::kFloat16 ? HalfToFloat(halves[i])
                                                   : Bfloat16ToFloat(halves[i]);
  }
  return {view->shape, std::move(values)};
}

Tensor Weights::Lend(const std::string& name, const std::vector<int64_t>& shape) {
  names_lent_.insert(name);
  return Take(name, shape);
}

absl::Status Weights::Finish() {
  for (const auto& [name, view] : views_) {
    if (!status_.ok()) return status_;
    if (names_taken_.count(name) == 0) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat(name_, ": tensor ", name,
                       " is not part of this architecture; export the checkpoint again"));
    }
  }
  for (const auto& [name, view] : views_) {
    const bool lent = view.type == TensorType::kFloat32 && names_lent_.count(name) > 0;
    if (!lent) file_->Discard(view.bytes);
  }
  return status_;
}

}  // namespace leapstream
