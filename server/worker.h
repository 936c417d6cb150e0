#ifndef LEAPSTREAM_SERVER_WORKER_H_
#define LEAPSTREAM_SERVER_WORKER_H_

#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace leapstream {

// A thread that runs one function after the other, in the order in which they came. It is for work
// that takes too long for gRPC's threads, on which the calls of others would wait. Thread-safe.
class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  // Runs all functions that have come before it ends.
  ~Worker() {
    {
      MutexLock lock(&mutex_);
      stop_ = true;
      changed_.NotifyOne();
    }
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Do(std::function<void()> what) {
    MutexLock lock(&mutex_);
    asked_.push_back(std::move(what));
    changed_.NotifyOne();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> what;
      {
        MutexLock lock(&mutex_);
        while (!stop_ && asked_.empty()) changed_.Wait(&mutex_);
        if (asked_.empty()) return;
        what = std::move(asked_.front());
        asked_.pop_front();
      }
      what();
    }
  }

  Mutex mutex_;
  CondVar changed_;  // Notified when stop_ was set or asked_ got something.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> asked_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the members above.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WORKER_H_
