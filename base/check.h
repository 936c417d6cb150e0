#ifndef LEAPSTREAM_BASE_CHECK_H_
#define LEAPSTREAM_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Aborts when one of our own invariants is broken. No content from a client, a file or a flag may
// get this far: that is an absl::Status.
#define LEAPSTREAM_CHECK(condition)                                                          \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

#endif  // LEAPSTREAM_BASE_CHECK_H_
