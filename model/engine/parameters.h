#ifndef LEAPSTREAM_MODEL_ENGINE_PARAMETERS_H_
#define LEAPSTREAM_MODEL_ENGINE_PARAMETERS_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/row_table.h"
#include "model/engine/weights.h"

namespace leapstream {

// A layer's part of the weights: the tensors whose names begin with the layer's. The layer's
// constructor takes each of its tensors here, and that is the only place where the tensor's name
// and shape are written. Constructors also run without values (Weights::Listing()), so they must
// not look at values. This is a view of Weights, which must outlive it.
class Parameters {
 public:
  using Shape = std::vector<int64_t>;

  // Covers all the weights.
  explicit Parameters(Weights& weights) : weights_(&weights) {}
  // Covers the tensors whose names go on with `name` and a dot.
  Parameters Under(absl::string_view name) const;

  // Whether there are values. False for a listing, and after an error.
  bool have_values() const { return weights_->have_values(); }
  // The product with the tensors "weight" and "bias". shape: that of "weight"; its first number is
  // the number of outputs, the product of the others is the number of inputs. order: input i of the
  // product is input order[i] of the tensor; empty: the tensor's own order.
  PackedLinear Linear(const Shape& shape, const std::vector<int64_t>& order = {}) const;
  // Linear() in float32, whatever the compute type is: for small inputs, and nets that feed sines.
  PackedLinear ExactLinear(const Shape& shape) const;
  // Several products of one shape, stacked into one product that has all their outputs.
  PackedLinear Stacked(std::initializer_list<absl::string_view> names, const Shape& shape) const;
  // The product with tensor `name` [out, in], and with tensor `bias` [out] unless that is empty.
  PackedLinear Matrix(absl::string_view name, const Shape& shape,
                      absl::string_view bias = "") const;
  // The product with the transpose of tensor `name` [in, out], without bias.
  PackedLinear Transposed(absl::string_view name, const Shape& shape) const;
  // A tensor [rows, width] of which single rows are read.
  RowTable Table(absl::string_view name, const Shape& shape) const;
  // A copy of a tensor's values; empty if the weights are a listing.
  std::vector<float> Values(absl::string_view name, const Shape& shape) const;

 private:
  std::string NameOf(absl::string_view name) const;
  // A product that is packed row by row, so that no tensor is ever held as float32. names: those of
  // the tensors, in full; biases: the same, or none.
  PackedLinear Product(const std::vector<std::string>& names,
                       const std::vector<std::string>& biases, const Shape& shape, ComputeType type,
                       const std::vector<int64_t>& order) const;
  PackedLinear WithBias(std::initializer_list<absl::string_view> names, const Shape& shape,
                        ComputeType type, const std::vector<int64_t>& order) const;

  Weights* weights_;
  std::string name_;  // Empty, or the layer's name and a dot.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_PARAMETERS_H_
