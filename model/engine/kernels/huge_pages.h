#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <vector>

namespace leapstream {

inline constexpr size_t kHugePage = size_t{2} << 20;

// An allocator for the memory that every step reads: weights, states, scratch. Memory of at least a
// huge page's size lies on huge pages, if the system has them. Reading it in one go is then up to
// twice as fast (no walk of the page table each 4 KB, and no stop of the prefetcher there), and a
// first touch costs a hundredth. Smaller memory is aligned to a cache line.
template <typename T>
class HugePageAllocator {
 public:
  using value_type = T;
  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {
  }  // NOLINT: an allocator must convert implicitly.

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* const memory = ::operator new(RoundUp(bytes), Alignment(bytes));
#ifdef MADV_HUGEPAGE
    // This is a hint: without huge pages the memory is slower, but otherwise the same.
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

// Puts arrays side by side on huge pages, in blocks. For arrays that are each smaller than a huge
// page and are read one after the other, such as a model's weights. Not thread-safe.
class HugePageArena {
 public:
  HugePageArena() = default;
  HugePageArena(const HugePageArena&) = delete;
  HugePageArena& operator=(const HugePageArena&) = delete;

  // An array of zeros, aligned to a cache line, which lives as long as the arena.
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
    return reinterpret_cast<T*>(taken);
  }

 private:
  // A block's bytes. The part of a block that nobody takes is never touched.
  static constexpr size_t kBlock = 8 * kHugePage;

  // Mapped by itself, so that the memory is zero, and the system's again when the block ends.
  struct Block {
    explicit Block(size_t size)
        : bytes((size + kHugePage - 1) / kHugePage * kHugePage),
          mapped(mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
      if (mapped == MAP_FAILED) throw std::bad_alloc();
      const auto address = reinterpret_cast<uintptr_t>(mapped);
      memory = static_cast<char*>(mapped) + (kHugePage - address % kHugePage) % kHugePage;
#ifdef MADV_HUGEPAGE
      madvise(memory, bytes, MADV_HUGEPAGE);  // A hint, as in HugePageAllocator.
#endif
    }
    ~Block() { munmap(mapped, bytes + kHugePage); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    const size_t bytes;
    void* const mapped;
    char* memory = nullptr;  // Begins at a huge page.
  };

  std::deque<Block> blocks_;
  size_t used_ = 0;  // The bytes of the last block that are taken.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_HUGE_PAGES_H_
