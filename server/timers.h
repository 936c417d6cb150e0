#ifndef LEAPSTREAM_SERVER_TIMERS_H_
#define LEAPSTREAM_SERVER_TIMERS_H_

#include <functional>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace leapstream {

// One thread that calls functions at their times. It sleeps until the earliest one, a second at
// most. Thread-safe.
class Timers {
 public:
  Timers();
  ~Timers();  // What is not due yet is dropped.
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // `call` runs on the timers' thread: it must not block. InfiniteFuture(): never.
  void At(SteadyTime time, std::function<void()> call);
  // See Lateness.
  SteadyTime patience() const;

 private:
  void Run();

  mutable Mutex mutex_;
  CondVar changed_;  // stop_ was set, or there is an earlier call.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Lateness lateness_ ABSL_GUARDED_BY(mutex_);
  std::multimap<SteadyTime, std::function<void()>> calls_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the above.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TIMERS_H_
