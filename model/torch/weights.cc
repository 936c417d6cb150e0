#include "model/torch/weights.h"

#include <set>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace leapstream {

absl::StatusOr<Weights> Weights::Load(const std::string& path, const ModelConfig& config,
                                      ComputeType compute_type) {
  Weights weights;
  weights.compute_type_ = compute_type;
  LEAPSTREAM_ASSIGN_OR_RETURN(weights.file_, MappedFile::Open(path));
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

at::Tensor Weights::Get(const std::string& name) const {
  const auto found = views_.find(name);
  TORCH_CHECK(found != views_.end(), "no tensor named ", name);
  const TensorView& view = found->second;
  const auto type = view.type == TensorType::kFloat16 ? at::kHalf : at::kFloat;
  // LibTorch has no const tensors; nothing writes to it, and the map is read-only.
  at::Tensor mapped = at::from_blob(const_cast<char*>(view.bytes.data()), view.shape,
                                    at::TensorOptions().dtype(type));
  return mapped.to(at::kFloat);
}

PackedLinear Weights::Linear(const std::vector<std::string>& names) const {
  return Stack(names, compute_type_);
}

PackedLinear Weights::ExactLinear(const std::string& name) const {
  return Stack({name}, ComputeType::kFloat32);
}

PackedLinear Weights::Stack(const std::vector<std::string>& names, ComputeType type) const {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  for (const std::string& name : names) {
    weights.push_back(Get(name + ".weight"));
    biases.push_back(Has(name + ".bias") ? Get(name + ".bias")
                                         : at::zeros({weights.back().size(0)}));
  }
  const at::Tensor weight = at::cat(weights);
  const at::Tensor bias = at::cat(biases);
  return PackedLinear(weight.data_ptr<float>(), bias.data_ptr<float>(), weight.size(0),
                      weight.size(1), type);
}

PackedLinear Weights::Matrix(const std::string& name) const {
  const at::Tensor weight = Get(name);
  return PackedLinear(weight.data_ptr<float>(), nullptr, weight.size(0), weight.size(1),
                      compute_type_);
}

}  // namespace leapstream
