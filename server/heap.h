#ifndef LEAPSTREAM_SERVER_HEAP_H_
#define LEAPSTREAM_SERVER_HEAP_H_

namespace leapstream {

// Gives the system the freed memory that the allocator holds beyond budget::kIdleHeapBytes. The
// allocator itself gives memory back only when more is freed, so it would keep a burst's memory for
// as long as nothing happens. To be called now and then.
void ReleaseHeap();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_HEAP_H_
