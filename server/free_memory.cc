#include "server/free_memory.h"

#include <cstddef>

#include "base/budget.h"

// Of gperftools' malloc_extension_c.h; null where another allocator is linked.
extern "C" {
__attribute__((weak)) int MallocExtension_GetNumericProperty(const char* property, size_t* value);
__attribute__((weak)) void MallocExtension_ReleaseFreeMemory(void);
}

namespace leapstream {

void ReturnFreeMemory() {
  if (MallocExtension_GetNumericProperty == nullptr ||
      MallocExtension_ReleaseFreeMemory == nullptr) {
    return;
  }
  size_t bytes = 0;
  if (MallocExtension_GetNumericProperty("tcmalloc.pageheap_free_bytes", &bytes) != 0 &&
      bytes > budget::kFreeBytes) {
    MallocExtension_ReleaseFreeMemory();
  }
}

}  // namespace leapstream
