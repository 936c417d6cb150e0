#include "server/timers.h"

#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace leapstream {

Timers::Timers() : thread_([this] { Run(); }) {}

Timers::~Timers() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  changed_.NotifyOne();
  thread_.join();
}

void Timers::At(absl::Time time, std::function<void()> call) {
  if (time == absl::InfiniteFuture()) return;
  bool earliest = false;
  {
    MutexLock lock(&mutex_);
    const auto added = calls_.emplace(time, std::move(call));
    earliest = added == calls_.begin();
  }
  if (earliest) changed_.NotifyOne();
}

void Timers::Run() {
  while (true) {
    std::vector<std::function<void()>> due;
    {
      MutexLock lock(&mutex_);
      while (!stop_ && (calls_.empty() || calls_.begin()->first > absl::Now())) {
        if (calls_.empty()) {
          changed_.Wait(&mutex_);
        } else {
          changed_.WaitUntil(&mutex_, calls_.begin()->first);
        }
      }
      if (stop_) return;
      const absl::Time now = absl::Now();
      while (!calls_.empty() && calls_.begin()->first <= now) {
        due.push_back(std::move(calls_.begin()->second));
        calls_.erase(calls_.begin());
      }
    }
    for (const auto& call : due) call();
  }
}

}  // namespace leapstream
