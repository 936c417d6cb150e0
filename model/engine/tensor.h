#ifndef LEAPSTREAM_MODEL_ENGINE_TENSOR_H_
#define LEAPSTREAM_MODEL_ENGINE_TENSOR_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace leapstream {

// A float32 tensor, row-major and contiguous. It owns its values, or views those of an owner that
// must outlive it.
class Tensor {
 public:
  Tensor() = default;
  Tensor(std::vector<int64_t> shape, std::vector<float> values)
      : shape_(std::move(shape)), own_(std::move(values)) {}
  Tensor(std::vector<int64_t> shape, const float* lent) : shape_(std::move(shape)), lent_(lent) {}

  const float* data() const { return lent_ != nullptr ? lent_ : own_.data(); }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size(int dim) const { return shape_[dim]; }
  int64_t count() const {
    int64_t count = 1;
    for (const int64_t size : shape_) count *= size;
    return count;
  }

 private:
  std::vector<int64_t> shape_ = {0};
  std::vector<float> own_;
  const float* lent_ = nullptr;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TENSOR_H_
