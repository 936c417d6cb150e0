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

// Whether no exponent has all its bits set, which NaN and infinity have.
template <typename Bits>
bool IsFinite(absl::string_view bytes, Bits exponent) {
  const auto* numbers = reinterpret_cast<const Bits*>(bytes.data());
  const size_t count = bytes.size() / sizeof(Bits);
  Bits found = 0;  // No branch: the loop goes at the speed of the memory.
  for (size_t i = 0; i < count; ++i) found |= (numbers[i] & exponent) == exponent ? 1 : 0;
  return found == 0;
}
bool IsFinite(const TensorView& view) {
  return view.type == TensorType::kFloat32 ? IsFinite<uint32_t>(view.bytes, 0x7f800000)
                                           : IsFinite<uint16_t>(view.bytes, 0x7c00);
}

}  // namespace

absl::StatusOr<Weights> Weights::Load(const std::string& path, const ModelConfig& config,
                                      ComputeType compute_type) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto file,
                              FileBytes::Read(path, std::numeric_limits<int64_t>::max()));
  return Parse(std::move(file), path, config, compute_type);
}

absl::StatusOr<Weights> Weights::Parse(std::shared_ptr<FileBytes> file, const std::string& path,
                                       const ModelConfig& config, ComputeType compute_type) {
  Weights weights;
  weights.compute_type_ = compute_type;
  weights.file_ = std::move(file);
  LEAPSTREAM_ASSIGN_OR_RETURN(weights.views_, ParseSafetensors(weights.file_->bytes(), path));
  std::set<std::string> wanted;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const auto found = weights.views_.find(spec.name);
    if (found == weights.views_.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", spec.name, " of shape [",
                                                     absl::StrJoin(spec.shape, ", "),
                                                     "] is missing; export the checkpoint again"));
    }
    if (found->second.shape != spec.shape || found->second.type == TensorType::kInt64) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", spec.name, " should be floating and of shape [",
                       absl::StrJoin(spec.shape, ", "), "], found [",
                       absl::StrJoin(found->second.shape, ", "), "]; export the checkpoint again"));
    }
    if (!IsFinite(found->second)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", spec.name,
                       " should have finite numbers only, found NaN or infinity; the training has "
                       "diverged: export an earlier checkpoint"));
    }
    wanted.insert(spec.name);
  }
  for (const auto& [name, view] : weights.views_) {
    if (wanted.count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", name,
                       " is not part of this architecture; export the checkpoint again"));
    }
  }
  return weights;
}

Tensor Weights::Get(const std::string& name) const {
  taken_.insert(name);
  return View(name);
}

void Weights::DiscardOthers() {
  for (const auto& [name, view] : views_) {
    const bool lent = view.type == TensorType::kFloat32 && taken_.count(name) > 0;
    if (!lent) file_->Discard(view.bytes);
  }
}

Tensor Weights::View(const std::string& name) const {
  const TensorView& view = views_.at(name);
  if (view.type == TensorType::kFloat32) {
    return {view.shape, reinterpret_cast<const float*>(view.bytes.data())};
  }
  const auto* halves = reinterpret_cast<const uint16_t*>(view.bytes.data());
  std::vector<float> values(view.bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) values[i] = HalfToFloat(halves[i]);
  return {view.shape, std::move(values)};
}

PackedLinear Weights::Linear(const std::vector<std::string>& names) const {
  return Stack(names, compute_type_);
}

PackedLinear Weights::ExactLinear(const std::string& name) const {
  return Stack({name}, ComputeType::kFloat32);
}

PackedLinear Weights::Stack(const std::vector<std::string>& names, ComputeType type) const {
  std::vector<float> weights;
  std::vector<float> biases;
  int64_t in = 0;
  for (const std::string& name : names) {
    const Tensor weight = View(name + ".weight");
    in = weight.size(1);
    weights.insert(weights.end(), weight.data(), weight.data() + weight.count());
    biases.resize(biases.size() + weight.size(0), 0.0f);
    if (!Has(name + ".bias")) continue;
    const Tensor bias = View(name + ".bias");
    std::copy_n(bias.data(), bias.count(), biases.end() - bias.count());
  }
  return {weights.data(), biases.data(), static_cast<int64_t>(biases.size()), in, type, packed_};
}

PackedLinear Weights::Matrix(const std::string& name) const {
  const Tensor weight = View(name);
  return {weight.data(), nullptr, weight.size(0), weight.size(1), compute_type_, packed_};
}

}  // namespace leapstream
