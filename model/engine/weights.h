#ifndef LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
#define LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/file_reader.h"
#include "model/api/safetensors.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/row_table.h"
#include "model/engine/tensor.h"

namespace leapstream {

// The name and the shape of a parameter of the network, as in weights.safetensors.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// The tensors of a model. Its layers take them one by one, each by name and shape; see Parameters.
// They come from a weights file, of which one part after the other is read; or from memory that an
// earlier load has filled, so that no values are looked at. With a file, each tensor is checked as
// it is taken: the first error is kept for Finish(), and all tensors taken from then on are empty.
// A Listing() has neither and gives empty tensors only. Not thread-safe.
class Weights {
 public:
  // Opens a file. compute_type: that of the products that Parameters make. NOT_FOUND: no such file;
  // INVALID_ARGUMENT: not a safetensors file.
  static absl::StatusOr<Weights> Load(const std::string& path,
                                      ComputeType compute_type = ComputeType::kFloat32);
  // Takes an open file.
  static absl::StatusOr<Weights> Parse(std::shared_ptr<const FileReader> file,
                                       ComputeType compute_type);
  // Takes memory that a load of the same model with the same compute type has filled.
  static Weights Packed(std::shared_ptr<PackedMemory> packed, ComputeType compute_type);
  // Weights without values, which only record the tensors that are taken: taken() then lists all
  // tensors of a model.
  static Weights Listing() { return Weights(); }

  // A tensor of the file as float32. Empty after an error, and without a file.
  Tensor Take(const std::string& name, const std::vector<int64_t>& shape);
  // The place of a tensor in the file, for ReadValues() and ReadBytes(). Null after an error, and
  // without a file.
  const TensorRange* Find(const std::string& name, const std::vector<int64_t>& shape);
  // Reads `count` numbers of a tensor from number `first` on, as float32, or as they are in the
  // file. Returns false after an error.
  bool ReadValues(const TensorRange& tensor, int64_t first, int64_t count, float* out);
  bool ReadBytes(const TensorRange& tensor, int64_t first, int64_t count, void* out);
  // The tables that were made, by the names of their tensors: one that is shared is there once.
  std::map<std::string, RowTable>& tables() { return tables_; }
  // Must be called when all tensors are taken. Closes the file. INVALID_ARGUMENT: a tensor was
  // missing, of another shape, or not finite, or nobody took it; NOT_FOUND: the file could not be
  // read; INTERNAL: the memory was filled by another model.
  absl::Status Finish();

  // Each tensor once, in the order in which they were first taken.
  const std::vector<TensorSpec>& taken() const { return taken_; }
  ComputeType compute_type() const { return compute_type_; }
  // Whether there are tensors, and no error so far. False for a listing.
  bool have_values() const { return status_.ok() && (file_ != nullptr || packed_->filled()); }
  // The memory of packed weights, which lie in it in the order in which they are made.
  const std::shared_ptr<PackedMemory>& packed() const { return packed_; }

 private:
  Weights() = default;

  ComputeType compute_type_ = ComputeType::kFloat32;
  std::shared_ptr<const FileReader> file_;  // Null for a listing, and for memory that is filled.
  std::map<std::string, TensorRange> ranges_;
  std::vector<TensorSpec> taken_;
  std::set<std::string> names_taken_;
  std::map<std::string, RowTable> tables_;
  absl::Status status_;
  std::vector<uint16_t> halves_;  // float16 numbers that are being widened.
  std::shared_ptr<PackedMemory> packed_ = std::make_shared<PackedMemory>();
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
