#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <new>
#include <vector>

namespace leapstream {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Memory of what every step reads: weights, states, scratch. From a huge page's size on it lies on
// huge pages, where the system has them: reading it at once is then up to twice as fast (no walk of
// the page table each 4 KB, and no stop of the prefetcher there), and a first touch costs a
// hundredth. Smaller memory is aligned to a cache line.
template <typename T>
class HugePageAllocator {
 public:
  using value_type = T;
  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}  // NOLINT: what an allocator must have.

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* const memory = ::operator new(RoundUp(bytes), Alignment(bytes));
#ifdef MADV_HUGEPAGE
    // A hint: without huge pages all is as it was, only slower.
    if (bytes >= kHugePage) madvise(memory, RoundUp(bytes), MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) {
    ::operator delete(memory, Alignment(count * sizeof(T)));
  }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }
  friend bool operator!=(const HugePageAllocator&, const HugePageAllocator&) { return false; }

 private:
  static size_t RoundUp(size_t bytes) {
    return bytes < kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
  }
  static std::align_val_t Alignment(size_t bytes) {
    return std::align_val_t{bytes < kHugePage ? size_t{64} : kHugePage};
  }
};

template <typename T>
using HugePageVector = std::vector<T, HugePageAllocator<T>>;

// Huge pages for what is each smaller than one and read one after the other, as a model's weights:
// side by side, in blocks. Not thread-safe.
class HugePageArena {
 public:
  HugePageArena() = default;
  HugePageArena(const HugePageArena&) = delete;
  HugePageArena& operator=(const HugePageArena&) = delete;

  // Zeros, aligned to a cache line; there as long as the arena is.
  template <typename T>
  T* Take(size_t count) {
    constexpr size_t kLine = 64;
    const size_t bytes = (count * sizeof(T) + kLine - 1) / kLine * kLine;
    if (blocks_.empty() || blocks_.back().bytes - used_ < bytes) {
      blocks_.emplace_back(std::max(bytes, kBlock));
      used_ = 0;
    }
    char* const taken = blocks_.back().memory + used_;
    used_ += bytes;
    std::memset(taken, 0, bytes);
    return reinterpret_cast<T*>(taken);
  }

 private:
  static constexpr size_t kBlock = 8 * kHugePage;  // What is not taken of it is never touched.

  struct Block {
    explicit Block(size_t size) : bytes(size), memory(HugePageAllocator<char>().allocate(size)) {}
    ~Block() { HugePageAllocator<char>().deallocate(memory, bytes); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    const size_t bytes;
    char* const memory;
  };

  std::deque<Block> blocks_;
  size_t used_ = 0;  // Of the last one.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_
