#ifndef LEAPSTREAM_SERVER_TIMERS_H_
#define LEAPSTREAM_SERVER_TIMERS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace leapstream {

class Timer;

// One thread that calls functions at their times. It sleeps until the earliest one, a second at
// most. Thread-safe.
class Timers {
 public:
  Timers();
  ~Timers();  // What is not due yet is dropped.
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // `call` runs on the timers' thread: it must not block. InfiniteFuture(): never. What is to be
  // forgotten with somebody who may go before is a Timer.
  void At(SteadyTime time, std::function<void()> call);
  // How many functions wait for their time.
  size_t waiting() const;
  // See Lateness.
  SteadyTime patience() const;

 private:
  friend class Timer;
  struct Planned {
    std::function<void()> call;
    Timer* timer = nullptr;  // That it is of, if any.
  };
  using Calls = std::multimap<SteadyTime, Planned>;

  void Run();

  mutable Mutex mutex_;
  CondVar changed_;  // stop_ was set, or there is an earlier call.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Lateness lateness_ ABSL_GUARDED_BY(mutex_);
  Calls calls_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the above.
};

// One function of Timers, which must outlive it, that is forgotten when this goes: a call that is
// over leaves nothing behind. Thread-safe. The function may still run once this has gone, if its
// time had come, so it holds a weak pointer to what it needs.
class Timer {
 public:
  explicit Timer(Timers* timers) : timers_(timers) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // As Timers::At(), in the place of what was set before.
  void Set(SteadyTime time, std::function<void()> call);
  void Cancel();

 private:
  friend class Timers;

  Timers* const timers_;
  std::optional<Timers::Calls::iterator> planned_;  // Guarded by the lock of timers_.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TIMERS_H_
