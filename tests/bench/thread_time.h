#ifndef LEAPSTREAM_TESTS_BENCH_THREAD_TIME_H_
#define LEAPSTREAM_TESTS_BENCH_THREAD_TIME_H_

#include <time.h>

namespace leapstream {

// Seconds that this thread has run. A measurement runs on one thread and never waits. So on a quiet
// machine this is the time of the clock on the wall; on a shared one it leaves out the time of
// others.
inline double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_THREAD_TIME_H_
