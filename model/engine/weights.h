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

// A parameter of the network under the name it has in weights.safetensors.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// The tensors of a model, which its layers take one by one, each by its name and its shape; see
// Parameters. A file checks each tensor as it is taken: the first error is kept for Finish(), and
// all tensors taken from then on are empty. A Listing() has no file and gives empty tensors only.
// float32 tensors lie in the bytes of the file; float16 ones are widened as they are taken. Must
// outlive the tensors that it lent. Not thread-safe.
class Weights {
 public:
  // NOT_FOUND: no such file; INVALID_ARGUMENT: not a safetensors file. compute_type: of the
  // products that Parameters make.
  static absl::StatusOr<Weights> Load(const std::string& path,
                                      ComputeType compute_type = ComputeType::kFloat32);
  // The same of the bytes of a file, which messages call `name`.
  static absl::StatusOr<Weights> Parse(std::shared_ptr<FileBytes> file, const std::string& name,
                                       ComputeType compute_type);
  // Learns which tensors are taken: taken() then lists all that a model has.
  static Weights Listing() { return Weights(); }

  // A tensor whose values are copied at once. Empty: there are none to copy.
  Tensor Take(const std::string& name, const std::vector<int64_t>& shape);
  // The same of a tensor that is used where it lies, for as long as these weights live.
  Tensor Lend(const std::string& name, const std::vector<int64_t>& shape);
  // To be called when all tensors are taken; gives the memory of all that were not lent back.
  // INVALID_ARGUMENT: a tensor was missing, of another shape, or not finite, or nobody took it.
  absl::Status Finish();

  // Each tensor once, in the order in which they were taken first.
  const std::vector<TensorSpec>& taken() const { return taken_; }
  ComputeType compute_type() const { return compute_type_; }
  // The memory of packed products: they lie in it in the order in which they are made.
  const std::shared_ptr<HugePageArena>& packed() const { return packed_; }

 private:
  Weights() = default;

  ComputeType compute_type_ = ComputeType::kFloat32;
  std::string name_;
  std::shared_ptr<FileBytes> file_;  // Null of a listing.
  std::map<std::string, TensorView> views_;
  std::vector<TensorSpec> taken_;
  std::set<std::string> names_taken_;
  std::set<std::string> names_lent_;
  absl::Status status_;
  std::shared_ptr<HugePageArena> packed_ = std::make_shared<HugePageArena>();
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
