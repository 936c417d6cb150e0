#ifndef LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
#define LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/file_bytes.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/tensor.h"

namespace leapstream {

// The parameters of a model, checked against ExpectedTensors(). float32 tensors lie in the bytes of
// the file; float16 ones are widened as they are taken. Must outlive the tensors it gave. Not
// thread-safe.
class Weights {
 public:
  // INVALID_ARGUMENT: a tensor is missing, of another shape, not finite, or not wanted.
  // compute_type: of the products that Linear() and Matrix() give.
  static absl::StatusOr<Weights> Load(const std::string& path, const ModelConfig& config,
                                      ComputeType compute_type = ComputeType::kFloat32);
  // The same of the bytes of a file, which messages call `name`.
  static absl::StatusOr<Weights> Parse(std::shared_ptr<FileBytes> file, const std::string& name,
                                       const ModelConfig& config, ComputeType compute_type);

  ComputeType compute_type() const { return compute_type_; }
  // Of what is packed: it goes there in the order in which it is asked for.
  const std::shared_ptr<HugePageArena>& packed() const { return packed_; }
  bool Has(const std::string& name) const { return views_.count(name) > 0; }
  // Throws std::out_of_range if there is none: ask only for what was expected.
  Tensor Get(const std::string& name) const;
  // Gives the memory of all tensors back that nobody got: products have their own. They are not to
  // be asked for any more.
  void DiscardOthers();
  // NAME.weight and, if there, NAME.bias; of several, stacked into one that gives all their
  // outputs.
  PackedLinear Linear(const std::vector<std::string>& names) const;
  // A matrix without a bias.
  PackedLinear Matrix(const std::string& name) const;
  // The same in float32 whatever the compute type: for the small nets that feed sines.
  PackedLinear ExactLinear(const std::string& name) const;

 private:
  Tensor View(const std::string& name) const;
  PackedLinear Stack(const std::vector<std::string>& names, ComputeType type) const;

  ComputeType compute_type_ = ComputeType::kFloat32;
  std::shared_ptr<FileBytes> file_;
  mutable std::set<std::string> taken_;  // By Get().
  std::shared_ptr<HugePageArena> packed_ = std::make_shared<HugePageArena>();
  std::map<std::string, TensorView> views_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_WEIGHTS_H_
