#ifndef LEAPSTREAM_SERVER_HEAP_H_
#define LEAPSTREAM_SERVER_HEAP_H_

namespace leapstream {

// Gives the system back what the allocator holds of freed memory beyond budget::kIdleHeapBytes: it
// would keep what a burst has left for as long as nothing is freed. To be called now and then.
void ReleaseHeap();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_HEAP_H_
