// Tells TSan of the order of events that OpenMP promises. TSan cannot see it: a distribution's
// libgomp is not instrumented, and hands work from thread to thread by its own futexes. Everything
// before a parallel region comes before its parts, and these come before everything after it; one
// critical section comes before the next. Races of parts with one another stay visible.
//
// In programs built for TSan only, it stands before libgomp in the order of symbols.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

// The function of this name in libgomp.
#define LEAPSTREAM_REAL(name)                                                            \
  ([] {                                                                                  \
    static const auto real = reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name)); \
    return real;                                                                         \
  }())

namespace {

struct Region {
  void (*part)(void*);
  void* shared;
  char begun, ended;  // Stand for these events.
};

void RunPart(void* given) {
  auto* const region = static_cast<Region*>(given);
  __tsan_acquire(&region->begun);
  region->part(region->shared);
  __tsan_release(&region->ended);
}

char critical;  // Stands for the order of all unnamed critical sections.

}  // namespace

extern "C" {

void GOMP_parallel(void (*part)(void*), void* shared, unsigned threads, unsigned flags) {
  Region region = {part, shared, 0, 0};
  __tsan_release(&region.begun);
  LEAPSTREAM_REAL(GOMP_parallel)(RunPart, &region, threads, flags);
  __tsan_acquire(&region.ended);
}

void GOMP_critical_start() {
  LEAPSTREAM_REAL(GOMP_critical_start)();
  __tsan_acquire(&critical);
}

void GOMP_critical_end() {
  __tsan_release(&critical);
  LEAPSTREAM_REAL(GOMP_critical_end)();
}

}  // extern "C"
