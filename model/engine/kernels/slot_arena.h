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

// Slots of one size, for what sessions remember of a block: side by side, as a step of many
// sessions reads them. Taken from the system in slabs of some slots that are touched at once, and
// kept: a slot of Reserve()'s faults no page. Thread-safe; shared by its slots, which may be the
// last to go.
class SlotArena {
 public:
  // floats: of a slot.
  explicit SlotArena(int64_t floats) : floats_((floats + kAlign - 1) / kAlign * kAlign) {}
  SlotArena(const SlotArena&) = delete;
  SlotArena& operator=(const SlotArena&) = delete;

  // 64-byte aligned, of any content; given back when this goes.
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

  // Makes room for so many slots at once, used ones included. Who takes a slot meanwhile does not
  // wait for it.
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
  static constexpr int64_t kAlign = 16;  // Floats: a cache line.
  static constexpr int64_t kSlots = 16;  // A slab's, unless that is more than a huge page.

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
  // To touch a slab takes milliseconds: without the lock.
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
    // The first one on top.
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
