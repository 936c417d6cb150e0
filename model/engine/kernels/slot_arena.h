#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_SLOT_ARENA_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_SLOT_ARENA_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "model/engine/kernels/huge_pages.h"

namespace leapstream {

// Memory slots of one size for the states of one attention block. The slots of many sessions lie
// side by side, as a step reads them. The system's memory is taken in slabs of several slots, which
// are touched at once and kept: using a slot that Reserve() made causes no page fault. Thread-safe.
// Each slot shares the arena, and may outlive all other owners.
class SlotArena {
 public:
  // floats: the size of a slot.
  explicit SlotArena(int64_t floats) : floats_((floats + kAlign - 1) / kAlign * kAlign) {}
  SlotArena(const SlotArena&) = delete;
  SlotArena& operator=(const SlotArena&) = delete;

  // A slot's memory, 64-byte aligned and not initialised. The destructor gives it back.
  class Slot {
   public:
    explicit Slot(std::shared_ptr<SlotArena> arena)
        : arena_(std::move(arena)), floats_(arena_->Take()) {}
    ~Slot() { arena_->Give(floats_); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    float* floats() const { return floats_; }
    int64_t size() const { return arena_->floats_; }
    const std::shared_ptr<SlotArena>& arena() const { return arena_; }

   private:
    const std::shared_ptr<SlotArena> arena_;
    float* const floats_;
  };

  // Makes room for so many slots, used ones included. A thread that takes a free slot meanwhile
  // does not wait.
  void Reserve(int64_t slots) {
    while (true) {
      {
        MutexLock lock(&mutex_);
        if (slots_ >= slots) return;
      }
      Grow();
    }
  }

 private:
  static constexpr int64_t kAlign = 16;  // The floats of a cache line.
  static constexpr int64_t kSlots = 16;  // The slots of a slab that is smaller than a huge page.

  float* Take() {
    while (true) {
      {
        MutexLock lock(&mutex_);
        if (!free_.empty()) {
          float* const slot = free_.back();
          free_.pop_back();
          return slot;
        }
      }
      Grow();
    }
  }
  void Give(float* slot) {
    MutexLock lock(&mutex_);
    free_.push_back(slot);
  }
  // Adds a slab. Touching its memory takes milliseconds, so the lock is not held meanwhile.
  void Grow() {
    constexpr auto kPage = static_cast<int64_t>(kHugePage / sizeof(float));
    const int64_t some = kSlots * floats_;
    const int64_t size = some < kPage ? some : (floats_ + kPage - 1) / kPage * kPage;
    const int64_t count = size / floats_;
    HugePageVector<float> slab(size);
    MutexLock lock(&mutex_);
    slabs_.push_back(std::move(slab));
    slots_ += count;
    free_.reserve(slots_);
    // The slab's first slot is pushed last, so that it is taken first.
    for (int64_t i = count - 1; i >= 0; --i) free_.push_back(slabs_.back().data() + i * floats_);
  }

  const int64_t floats_;
  Mutex mutex_;
  std::vector<HugePageVector<float>> slabs_ ABSL_GUARDED_BY(mutex_);
  std::vector<float*> free_ ABSL_GUARDED_BY(mutex_);
  int64_t slots_ ABSL_GUARDED_BY(mutex_) = 0;  // The slots of all slabs.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_SLOT_ARENA_H_
