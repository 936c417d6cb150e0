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

// Calls functions at their times, on one thread. The thread sleeps until the earliest time, but no
// longer than a second. Thread-safe.
class Timers {
 public:
  Timers();
  ~Timers();  // Drops the functions that are not due yet.
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // `call` runs on the timers' thread and must not block. At InfiniteFuture() it is dropped at
  // once. A function that must be forgotten when its owner goes has a Timer instead.
  void At(SteadyTime time, std::function<void()> call);
  // The number of functions that wait for their times.
  size_t waiting() const;
  // See Lateness::patience().
  SteadyTime patience() const;

 private:
  friend class Timer;
  struct Planned {
    std::function<void()> call;
    Timer* timer = nullptr;  // The Timer that has planned it; null: none.
  };
  using Calls = std::multimap<SteadyTime, Planned>;

  void Run();

  mutable Mutex mutex_;
  CondVar changed_;  // Notified when stop_ was set or an earlier time was added.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Lateness lateness_ ABSL_GUARDED_BY(mutex_);
  Calls calls_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the members above.
};

// One function of Timers. It is forgotten when the Timer is destroyed, so that a call that is over
// leaves nothing behind. If its time has come already, the function may still run after that, so it
// should hold a weak pointer to the object that it needs. Thread-safe.
class Timer {
 public:
  // `timers` must outlive this.
  explicit Timer(Timers* timers) : timers_(timers) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Plans `call` as Timers::At() does, and forgets the function that was set before.
  void Set(SteadyTime time, std::function<void()> call);
  // Forgets the function.
  void Cancel();

 private:
  friend class Timers;

  Timers* const timers_;
  std::optional<Timers::Calls::iterator> planned_;  // Guarded by timers_->mutex_.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TIMERS_H_
