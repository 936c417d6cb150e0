#include "server/heap.h"

#include <cstddef>

#include "base/budget.h"

// Functions of tcmalloc. They are null in a program that is not linked with it.
extern "C" {
__attribute__((weak)) int MallocExtension_GetNumericProperty(const char* property, size_t* value);
__attribute__((weak)) void MallocExtension_ReleaseToSystem(size_t bytes);
}

namespace leapstream {

void ReleaseHeap() {
  if (MallocExtension_GetNumericProperty == nullptr || MallocExtension_ReleaseToSystem == nullptr) {
    return;
  }
  size_t idle = 0;
  if (MallocExtension_GetNumericProperty("tcmalloc.pageheap_free_bytes", &idle) != 0 &&
      idle > budget::kIdleHeapBytes) {
    MallocExtension_ReleaseToSystem(idle - budget::kIdleHeapBytes);
  }
}

}  // namespace leapstream
