#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_ROW_TABLE_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_ROW_TABLE_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "model/api/half.h"
#include "model/engine/kernels/packed_memory.h"

namespace leapstream {

// A matrix of which only single rows are read, such as an embedding. It stays in the type that the
// file has, float32, float16 or bfloat16, and a row is widened when it is read. Immutable; thread-safe.
class RowTable {
 public:
  enum class Type : int32_t { kFloat32, kFloat16, kBfloat16 };

  RowTable() = default;
  // values: [rows, width] of `type`, in `memory`, which the table keeps alive.
  RowTable(std::shared_ptr<const PackedMemory> memory, Type type, const void* values, int64_t rows,
           int64_t width)
      : memory_(std::move(memory)), type_(type), values_(values), rows_(rows), width_(width) {}

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  // Writes row `row` to out [width].
  void Read(int64_t row, float* out) const {
    if (type_ == Type::kFloat32) {
      std::memcpy(out, static_cast<const float*>(values_) + row * width_, width_ * sizeof(float));
      return;
    }
    const uint16_t* const halves = static_cast<const uint16_t*>(values_) + row * width_;
    if (type_ == Type::kFloat16) {
      for (int64_t i = 0; i < width_; ++i) out[i] = HalfToFloat(halves[i]);
    } else {
      for (int64_t i = 0; i < width_; ++i) out[i] = Bfloat16ToFloat(halves[i]);
    }
  }

 private:
  std::shared_ptr<const PackedMemory> memory_;
  Type type_ = Type::kFloat32;
  const void* values_ = nullptr;
  int64_t rows_ = 0;
  int64_t width_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_ROW_TABLE_H_
