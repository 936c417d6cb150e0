#ifndef LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
#define LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/file_bytes.h"
#include "model/api/safetensors.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/tensor.h"

namespace leapstream {

// The name and the shape of a parameter of the network, as in weights.safetensors.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// The tensors of a model. Its layers take them one by one, each by name and shape; see Parameters.
// With a file, each tensor is checked as it is taken: the first error is kept for Finish(), and all
// tensors taken from then on are empty. A Listing() has no file and gives empty tensors only.
// float32 tensors lie in the bytes of the file; float16 and bfloat16 ones are widened as they are taken. Must
// outlive the tensors that it lent. Not thread-safe.
class Weights {
 public:
  // Reads a file. compute_type: that of the products that Parameters make. NOT_FOUND: no such file;
  // INVALID_ARGUMENT: not a safetensors file.
  static absl::StatusOr<Weights> Load(const std::string& path,
                                      ComputeType compute_type = ComputeType::kFloat32);
  // Takes the bytes of a file, which messages call `name`.
  static absl::StatusOr<Weights> Parse(std::shared_ptr<FileBytes> file, const std::string& name,
                                       ComputeType compute_type);
  // Weights without a file, which only record the tensors that are taken: taken() then lists all
  // tensors of a model.
  static Weights Listing() { return Weights(); }

  // A tensor whose values the caller copies at once. Empty after an error, and from a listing.
  Tensor Take(const std::string& name, const std::vector<int64_t>& shape);
  // A tensor that is used where it lies, for as long as these weights live. Empty as Take()'s.
  Tensor Lend(const std::string& name, const std::vector<int64_t>& shape);
  // Must be called when all tensors are taken. Frees the file's memory, but for tensors that were
  // lent. INVALID_ARGUMENT: a tensor was missing, of another shape, or not finite, or nobody took
  // it.
  absl::Status Finish();

  // Each tensor once, in the order in which they were first taken.
  const std::vector<TensorSpec>& taken() const { return taken_; }
  ComputeType compute_type() const { return compute_type_; }
  // The memory of packed products, which lie in it in the order in which they are made.
  const std::shared_ptr<HugePageArena>& packed() const { return packed_; }

 private:
  Weights() = default;

  ComputeType compute_type_ = ComputeType::kFloat32;
  std::string name_;
  std::shared_ptr<FileBytes> file_;  // Null for a listing.
  std::map<std::string, TensorView> views_;
  std::vector<TensorSpec> taken_;
  std::set<std::string> names_taken_;
  std::set<std::string> names_lent_;
  absl::Status status_;
  std::shared_ptr<HugePageArena> packed_ = std::make_shared<HugePageArena>();
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
