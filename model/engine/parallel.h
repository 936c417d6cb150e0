#ifndef LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_
#define LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_

#include <algorithm>
#include <cstdint>
#include <exception>

namespace leapstream {

// The number of threads that ParallelFor() uses when this thread calls it.
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

// Calls f(begin, end) for parts of [0, count) that are `grain` long at least, on OpenMP's threads.
// Each calling thread has OpenMP threads of its own, which wait for its next call, at first without
// sleeping. An exception of f is thrown again when all parts have ended. Without OpenMP there is
// one part.
template <typename F>
void ParallelFor(int64_t count, int64_t grain, const F& f) {
  const int64_t most = count / std::max<int64_t>(grain, 1);
  [[maybe_unused]] const int parts = static_cast<int>(std::min<int64_t>(ParallelThreads(), most));
#ifdef _OPENMP
  if (parts > 1) {
    std::exception_ptr error;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int64_t p = 0; p < parts; ++p) {
      try {
        f(count * p / parts, count * (p + 1) / parts);
      } catch (...) {
#pragma omp critical
        error = std::current_exception();
      }
    }
    if (error != nullptr) std::rethrow_exception(error);
    return;
  }
#endif
  if (count > 0) f(0, count);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_PARALLEL_H_
