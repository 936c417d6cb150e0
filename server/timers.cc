#include "server/timers.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace leapstream {
namespace {

// The longest sleep. A process that was stopped is seen to be late soon after, whatever is planned.
constexpr absl::Duration kBeat = absl::Seconds(1);

}  // namespace

Timers::Timers() : thread_([this] { Run(); }) {}

Timers::~Timers() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  changed_.NotifyOne();
  thread_.join();
}

void Timers::At(SteadyTime time, std::function<void()> call) {
  if (time == SteadyTime::InfiniteFuture()) return;
  bool earliest = false;
  {
    MutexLock lock(&mutex_);
    const auto added = calls_.emplace(time, Planned{std::move(call)});
    earliest = added == calls_.begin();
  }
  if (earliest) changed_.NotifyOne();
}

size_t Timers::waiting() const {
  MutexLock lock(&mutex_);
  return calls_.size();
}

SteadyTime Timers::patience() const {
  MutexLock lock(&mutex_);
  return lateness_.patience();
}

void Timers::Run() {
  while (true) {
    std::vector<std::function<void()>> due;
    {
      MutexLock lock(&mutex_);
      SteadyTime now = SteadyNow();
      while (!stop_ && (calls_.empty() || calls_.begin()->first > now)) {
        SteadyTime planned = now + kBeat;
        if (!calls_.empty()) planned = std::min(planned, calls_.begin()->first);
        changed_.WaitUntil(&mutex_, planned);
        now = SteadyNow();
        lateness_.Woke(planned, now);
      }
      if (stop_) return;
      while (!calls_.empty() && calls_.begin()->first <= now) {
        Planned& planned = calls_.begin()->second;
        if (planned.timer != nullptr) planned.timer->planned_.reset();
        due.push_back(std::move(planned.call));
        calls_.erase(calls_.begin());
      }
    }
    for (const auto& call : due) call();
  }
}

void Timer::Set(SteadyTime time, std::function<void()> call) {
  Timers::Calls::node_type before;  // Destroyed after the lock is released.
  bool earliest = false;
  {
    MutexLock lock(&timers_->mutex_);
    if (planned_.has_value()) before = timers_->calls_.extract(*planned_);
    planned_.reset();
    if (time == SteadyTime::InfiniteFuture()) return;
    planned_ = timers_->calls_.emplace(time, Timers::Planned{std::move(call), this});
    earliest = planned_ == timers_->calls_.begin();
  }
  if (earliest) timers_->changed_.NotifyOne();
}

void Timer::Cancel() { Set(SteadyTime::InfiniteFuture(), nullptr); }

}  // namespace leapstream
