#ifndef LEAPSTREAM_SERVER_FREE_MEMORY_H_
#define LEAPSTREAM_SERVER_FREE_MEMORY_H_

namespace leapstream {

// Gives the system back what a flood of calls has left in the allocator, once that is more than
// budget::kFreeBytes: tcmalloc keeps it for ever. With another allocator it does nothing. To be
// called now and then; it takes as long as the pages take to be returned.
void ReturnFreeMemory();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_FREE_MEMORY_H_
