#ifndef LEAPSTREAM_MODEL_ENGINE_KERNELS_WORKSPACE_H_
#define LEAPSTREAM_MODEL_ENGINE_KERNELS_WORKSPACE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model/engine/kernels/huge_pages.h"

namespace leapstream {

// Scratch memory of one call: a stack of floats. The stack keeps its memory, so that nothing is
// allocated once it has seen the largest call. Floats() returns 64-byte aligned, uninitialised
// memory, which is free again when the innermost Scope ends. For one thread at a time.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  float* Floats(int64_t count) {
    count = (count + kAlign - 1) / kAlign * kAlign;
    while (block_ < blocks_.size() && used_ + count > blocks_[block_].size) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      const int64_t last = blocks_.empty() ? kFirstBlock : 2 * blocks_.back().size;
      blocks_.emplace_back(std::max(count, last));
      used_ = 0;
    }
    float* floats = blocks_[block_].memory.data() + used_;
    used_ += count;
    return floats;
  }

  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}
    ~Scope() {
      workspace_.block_ = block_;
      workspace_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    const size_t block_;
    const int64_t used_;
  };

 private:
  static constexpr int64_t kAlign = 16;  // The floats of a cache line.
  static constexpr int64_t kFirstBlock = 1 << 16;

  struct Block {
    explicit Block(int64_t floats) : size(floats), memory(floats) {}
    int64_t size;
    HugePageVector<float> memory;
  };

  std::vector<Block> blocks_;
  size_t block_ = 0;  // The block in which the stack's top is.
  int64_t used_ = 0;  // The floats of that block that are taken.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_KERNELS_WORKSPACE_H_
