#include "model/engine/parameters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leapstream {

std::string Parameters::NameOf(absl::string_view name) const { return absl::StrCat(name_, name); }

Parameters Parameters::Under(absl::string_view name) const {
  Parameters part = *this;
  absl::StrAppend(&part.name_, name, ".");
  return part;
}

PackedLinear Parameters::Linear(const Shape& shape, const std::vector<int64_t>& order) const {
  return Product({""}, shape, weights_->compute_type(), order);
}

PackedLinear Parameters::ExactLinear(const Shape& shape) const {
  return Product({""}, shape, ComputeType::kFloat32, {});
}

PackedLinear Parameters::Stacked(std::initializer_list<absl::string_view> names,
                                 const Shape& shape) const {
  return Product(names, shape, weights_->compute_type(), {});
}

PackedLinear Parameters::Product(std::initializer_list<absl::string_view> names, const Shape& shape,
                                 ComputeType type, const std::vector<int64_t>& order) const {
  std::vector<float> weights;
  std::vector<float> biases;
  for (const absl::string_view name : names) {
    const Parameters part = name.empty() ? *this : Under(name);
    const Tensor weight = weights_->Take(part.NameOf("weight"), shape);
    weights.insert(weights.end(), weight.data(), weight.data() + weight.count());
    const Tensor bias = weights_->Take(part.NameOf("bias"), {shape[0]});
    biases.insert(biases.end(), bias.data(), bias.data() + bias.count());
  }
  if (biases.empty()) return PackedLinear();
  const auto out = static_cast<int64_t>(biases.size());
  const auto in = static_cast<int64_t>(weights.size()) / out;
  if (!order.empty()) {
    std::vector<float> ordered(weights.size());
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) ordered[o * in + i] = weights[o * in + order[i]];
    }
    weights = std::move(ordered);
  }
  return {weights.data(), biases.data(), out, in, type, weights_->packed()};
}

PackedLinear Parameters::Matrix(absl::string_view name, const Shape& shape,
                                absl::string_view bias) const {
  const Tensor weight = weights_->Take(NameOf(name), shape);
  const Tensor biases = bias.empty() ? Tensor() : weights_->Take(NameOf(bias), {shape[0]});
  if (weight.count() == 0 || (!bias.empty() && biases.count() == 0)) return PackedLinear();
  return {weight.data(),  bias.empty() ? nullptr : biases.data(),
          weight.size(0), weight.size(1),
          weights_->compute_type(), weights_->packed()};
}

Tensor Parameters::Table(absl::string_view name, const Shape& shape) const {
  return weights_->Lend(NameOf(name), shape);
}

std::vector<float> Parameters::Values(absl::string_view name, const Shape& shape) const {
  const Tensor tensor = weights_->Take(NameOf(name), shape);
  return std::vector<float>(tensor.data(), tensor.data() + tensor.count());
}

}  // namespace leapstream
