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
  return WithBias({""}, shape, weights_->compute_type(), order);
}

PackedLinear Parameters::ExactLinear(const Shape& shape) const {
  return WithBias({""}, shape, ComputeType::kFloat32, {});
}

PackedLinear Parameters::Stacked(std::initializer_list<absl::string_view> names,
                                 const Shape& shape) const {
  return WithBias(names, shape, weights_->compute_type(), {});
}

PackedLinear Parameters::WithBias(std::initializer_list<absl::string_view> names,
                                  const Shape& shape, ComputeType type,
                                  const std::vector<int64_t>& order) const {
  std::vector<std::string> weights;
  std::vector<std::string> biases;
  for (const absl::string_view name : names) {
    const Parameters part = name.empty() ? *this : Under(name);
    weights.push_back(part.NameOf("weight"));
    biases.push_back(part.NameOf("bias"));
  }
  return Product(weights, biases, shape, type, order);
}

PackedLinear Parameters::Product(const std::vector<std::string>& names,
                                 const std::vector<std::string>& biases, const Shape& shape,
                                 ComputeType type, const std::vector<int64_t>& order) const {
  constexpr int64_t kPart = 1 << 18;  // About so many numbers are read at a time.
  const int64_t rows = shape[0];      // Of one tensor.
  int64_t in = 1;
  for (size_t i = 1; i < shape.size(); ++i) in *= shape[i];
  std::vector<const TensorRange*> tensors;
  std::vector<float> bias;
  for (size_t n = 0; n < names.size(); ++n) {
    tensors.push_back(weights_->Find(names[n], shape));
    if (biases.empty()) continue;
    const Tensor values = weights_->Take(biases[n], {rows});
    bias.insert(bias.end(), values.data(), values.data() + values.count());
  }
  if (!weights_->have_values()) return PackedLinear();
  const int64_t some = std::max<int64_t>(kPart / std::max<int64_t>(in, 1), 1);
  std::vector<float> part;     // Some rows of a tensor, up to row `end`.
  std::vector<float> ordered;  // One of them, in the order of the product.
  int64_t begin = 0;
  int64_t end = 0;
  const auto row = [&](int64_t output) -> const float* {
    if (output >= end) {
      const int64_t first = output % rows;
      const int64_t count = std::min(some, rows - first);
      part.resize(std::max<size_t>(part.size(), count * in));
      // After an error the values do not matter: Finish() refuses them.
      weights_->ReadValues(*tensors[output / rows], first * in, count * in, part.data());
      begin = output;
      end = output + count;
    }
    const float* const values = part.data() + (output - begin) * in;
    if (order.empty()) return values;
    ordered.resize(in);
    for (int64_t i = 0; i < in; ++i) ordered[i] = values[order[i]];
    return ordered.data();
  };
  return {row,  bias.empty() ? nullptr : bias.data(), static_cast<int64_t>(names.size()) * rows, in,
          type, weights_->packed()};
}

PackedLinear Parameters::Matrix(absl::string_view name, const Shape& shape,
                                absl::string_view bias) const {
  std::vector<std::string> biases;
  if (!bias.empty()) biases.push_back(NameOf(bias));
  return Product({NameOf(name)}, biases, shape, weights_->compute_type(), {});
}

PackedLinear Parameters::Transposed(absl::string_view name, const Shape& shape) const {
  const Tensor tensor = weights_->Take(NameOf(name), shape);
  if (!weights_->have_values()) return PackedLinear();
  const int64_t in = shape[0];
  const int64_t out = shape[1];
  std::vector<float> column(in);
  const auto row = [&](int64_t output) -> const float* {
    for (int64_t i = 0; i < in; ++i) column[i] = tensor.data()[i * out + output];
    return column.data();
  };
  return {row, nullptr, out, in, weights_->compute_type(), weights_->packed()};
}

RowTable Parameters::Table(absl::string_view name, const Shape& shape) const {
  const TensorRange* const tensor = weights_->Find(NameOf(name), shape);
  if (!weights_->have_values()) return RowTable();
  RowTable& table = weights_->tables()[NameOf(name)];
  if (table.rows() > 0) return table;
  const std::shared_ptr<PackedMemory>& packed = weights_->packed();
  auto* const type = packed->Take<RowTable::Type>(1);
  if (tensor != nullptr) {
    *type = tensor->type == TensorType::kFloat32   ? RowTable::Type::kFloat32
            : tensor->type == TensorType::kFloat16 ? RowTable::Type::kFloat16
                                                   : RowTable::Type::kBfloat16;
  }
  const int64_t count = shape[0] * shape[1];
  const size_t bytes = *type == RowTable::Type::kFloat32 ? sizeof(float) : sizeof(uint16_t);
  auto* const values = packed->Take<char>(count * bytes);
  if (tensor != nullptr) weights_->ReadBytes(*tensor, 0, count, values);
  table = RowTable(packed, *type, values, shape[0], shape[1]);
  return table;
}

std::vector<float> Parameters::Values(absl::string_view name, const Shape& shape) const {
  const Tensor tensor = weights_->Take(NameOf(name), shape);
  if (!weights_->have_values()) return {};
  size_t count = 1;
  for (const int64_t size : shape) count *= size;
  auto* const values = weights_->packed()->Take<float>(count);
  if (!weights_->packed()->filled()) std::copy_n(tensor.data(), count, values);
  return std::vector<float>(values, values + count);
}

}  // namespace leapstream
