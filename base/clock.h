#ifndef LEAPSTREAM_BASE_CLOCK_H_
#define LEAPSTREAM_BASE_CLOCK_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace leapstream {

// A moment by a clock that only goes forward, whatever is done to the machine's date. All durations
// are measured and all timers set by it; absl::Time is a date, for expiries and logs. The two are
// different types, so that a date where a duration is measured does not compile.
class SteadyTime {
 public:
  constexpr SteadyTime() = default;  // InfinitePast().
  // A moment that is `offset` after the clock's own beginning. Tests invent times by it.
  explicit constexpr SteadyTime(absl::Duration offset) : offset_(offset) {}
  static constexpr SteadyTime InfinitePast() { return SteadyTime(-absl::InfiniteDuration()); }
  static constexpr SteadyTime InfiniteFuture() { return SteadyTime(absl::InfiniteDuration()); }

  // Nanoseconds since the clock's own beginning, for use in an atomic.
  int64_t nanoseconds() const { return absl::ToInt64Nanoseconds(offset_); }
  // For waits of the standard library.
  std::chrono::steady_clock::time_point ToChrono() const {
    return std::chrono::steady_clock::time_point(absl::ToChronoNanoseconds(offset_));
  }

  SteadyTime& operator+=(absl::Duration duration) {
    offset_ += duration;
    return *this;
  }
  friend SteadyTime operator+(SteadyTime time, absl::Duration duration) {
    return SteadyTime(time.offset_ + duration);
  }
  friend SteadyTime operator-(SteadyTime time, absl::Duration duration) {
    return SteadyTime(time.offset_ - duration);
  }
  friend absl::Duration operator-(SteadyTime a, SteadyTime b) { return a.offset_ - b.offset_; }
  friend bool operator==(SteadyTime a, SteadyTime b) { return a.offset_ == b.offset_; }
  friend bool operator!=(SteadyTime a, SteadyTime b) { return a.offset_ != b.offset_; }
  friend bool operator<(SteadyTime a, SteadyTime b) { return a.offset_ < b.offset_; }
  friend bool operator<=(SteadyTime a, SteadyTime b) { return a.offset_ <= b.offset_; }
  friend bool operator>(SteadyTime a, SteadyTime b) { return a.offset_ > b.offset_; }
  friend bool operator>=(SteadyTime a, SteadyTime b) { return a.offset_ >= b.offset_; }

 private:
  absl::Duration offset_ = -absl::InfiniteDuration();
};

inline SteadyTime SteadyNow() {
  return SteadyTime(absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()));
}

// Decides whether somebody has missed a deadline. The first look beyond the deadline only asks for
// a second one: this process may have been stopped, its machine paused, or its threads late, so
// that the expected thing is there and has not been read. Not thread-safe.
class LastLook {
 public:
  // The time between the two looks. A look that is itself later than this asks for another one.
  static constexpr absl::Duration kGrace = absl::Milliseconds(500);

  // Whether, at `now`, the `deadline` is known to be missed. `patience` is Lateness::patience().
  bool Missed(SteadyTime deadline, SteadyTime now, SteadyTime patience) {
    if (now < deadline) {
      deadline_.reset();
      next_ = deadline;
      return false;
    }
    if (deadline_ != deadline || now > next_ + kGrace) {
      deadline_ = deadline;
      next_ = std::max(now + kGrace, patience);
    }
    return now >= next_;
  }
  // The time to look again, after Missed() was false.
  SteadyTime next() const { return next_; }

 private:
  std::optional<SteadyTime> deadline_;  // The deadline that had passed at the first look.
  SteadyTime next_;
};

// The lateness of a waking thread says how long its process did not run. Peers go on in that time,
// and what they sent may need as long again to arrive, since TCP repeats it ever more seldom. Not
// thread-safe.
class Lateness {
 public:
  // A thread that slept until `planned` runs at `now`.
  void Woke(SteadyTime planned, SteadyTime now) {
    if (now > planned) patience_ = std::max(patience_, now + (now - planned));
  }
  // The time until which nobody is to be blamed for silence.
  SteadyTime patience() const { return patience_; }

 private:
  SteadyTime patience_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_CLOCK_H_
