#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_MEMORY_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_MEMORY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/engine/kernels/huge_pages.h"

namespace leapstream {

// The memory of a model's packed weights: arrays that the layers take one after the other, always
// in the same order. It is either empty, and who takes an array fills it; or it is the map of a
// file, and all arrays have been filled by an earlier load. Not thread-safe; the arrays live as
// long as it does, and are constant once they are filled.
class PackedMemory {
 public:
  static constexpr size_t kLine = 64;  // Each array begins at a multiple of so many bytes.

  PackedMemory() = default;
  // Takes over the map of a file, whose arrays begin `header` bytes behind its beginning.
  PackedMemory(absl::string_view map, size_t header)
      : map_(map), next_(header), arrays_filled_(true) {}
  ~PackedMemory() {
    if (!map_.empty()) munmap(const_cast<char*>(map_.data()), map_.size());
  }
  PackedMemory(const PackedMemory&) = delete;
  PackedMemory& operator=(const PackedMemory&) = delete;

  // Whether the arrays have their values already, and must not be written.
  bool filled() const { return arrays_filled_; }
  // An array: of zeros, or if filled(), of the values that it had. Beyond the file's end it is of
  // zeros, and complete() is false.
  template <typename T>
  T* Take(size_t count) {
    const size_t bytes = (count * sizeof(T) + kLine - 1) / kLine * kLine;
    if (filled()) {
      if (bytes <= map_.size() - next_) {
        const char* const array = map_.data() + next_;
        next_ += bytes;
        return reinterpret_cast<T*>(const_cast<char*>(array));
      }
      beyond_ = true;
    }
    char* const array = arena_.Take<char>(bytes);
    arrays_.emplace_back(array, bytes);
    return reinterpret_cast<T*>(array);
  }
  // Whether the arrays that were taken are exactly those that the file has.
  bool complete() const { return !beyond_ && next_ == map_.size(); }
  // The arrays that were taken, if they are not of a file.
  const std::vector<absl::string_view>& arrays() const { return arrays_; }

 private:
  HugePageArena arena_;
  std::vector<absl::string_view> arrays_;
  absl::string_view map_;  // The whole file; empty: there is none.
  size_t next_ = 0;        // The place of the next array in it.
  bool arrays_filled_ = false;
  bool beyond_ = false;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_PACKED_MEMORY_H_
