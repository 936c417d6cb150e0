#ifndef LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_
#define LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_

#include <algorithm>
#include <cstdint>

namespace leapstream {

// How many threads ParallelFor() uses when this thread calls it.
inline int& ParallelThreads() {
  static thread_local int threads = 1;
  return threads;
}

class ThreadsScope {
 public:
  explicit ThreadsScope(int threads) : before_(ParallelThreads()) { ParallelThreads() = threads; }
  ~ThreadsScope() { ParallelThreads() = before_; }
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  const int before_;
};

// Calls f(begin, end) for parts of [0, count), of `grain` at least, on OpenMP's threads: of each
// thread that calls this its own, which wait for the next call, at first without sleeping. f must
// not throw. Without OpenMP there is one part.
template <typename F>
void ParallelFor(int64_t count, int64_t grain, const F& f) {
  const int64_t parts = std::min<int64_t>(ParallelThreads(), count / std::max<int64_t>(grain, 1));
#ifdef _OPENMP
  if (parts > 1) {
#pragma omp parallel for num_threads(static_cast <int>(parts)) schedule(static, 1)
    for (int64_t p = 0; p < parts; ++p) f(count * p / parts, count * (p + 1) / parts);
    return;
  }
#endif
  if (count > 0) f(0, count);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_
