#ifndef LEAPSTREAM_STREAMING_STATE_BUDGET_H_
#define LEAPSTREAM_STREAMING_STATE_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "streaming/scheduled_session.h"

namespace leapstream {

// The memory that the states of all sessions of several schedulers take together, and the limit of
// it. Thread-safe.
class StateBudget {
 public:
  // The owner of sessions whose states are counted: the step loop of a scheduler.
  class Holder {
   public:
    virtual ~Holder() = default;
    struct Largest {
      int64_t bytes = 0;
      std::shared_ptr<ScheduledSession> session;  // Null: no state has grown.
      int64_t ending_bytes = 0;  // The states of sessions that are ending, which are freed soon.
    };
    // The session with the largest state, of the sessions that are not ending and whose state has
    // grown. Called on any thread.
    virtual Largest LargestGrown() const = 0;
  };

  explicit StateBudget(int64_t limit) : limit_(limit) {}  // In bytes; 0: there is no limit.

  int64_t limit() const { return limit_; }
  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  bool exceeded() const { return !HasRoomFor(0); }
  bool HasRoomFor(int64_t bytes) const { return limit_ == 0 || used() + bytes <= limit_; }
  void Add(int64_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }

  void Enter(const Holder* holder) {
    MutexLock lock(&mutex_);
    holders_.insert(holder);
  }
  // Removes a holder. Returns when EndLargest() no longer uses it.
  void Leave(const Holder* holder) {
    MutexLock lock(&mutex_);
    holders_.erase(holder);
  }

  // Cancels the session with the largest state, of all holders, if the states exceed the limit. A
  // session that is ending has its state until the next turn of its queue; until then no further
  // session ends if the states of the others fit.
  void EndLargest() const {
    MutexLock lock(&mutex_);
    Holder::Largest largest;
    int64_t ending_bytes = 0;
    for (const Holder* holder : holders_) {
      Holder::Largest of_holder = holder->LargestGrown();
      ending_bytes += of_holder.ending_bytes;
      if (of_holder.bytes > largest.bytes) largest = std::move(of_holder);
    }
    // The bytes in use are read last: a state that was freed meanwhile then counts as ending.
    if (largest.session == nullptr || HasRoomFor(-ending_bytes)) return;
    largest.session->Cancel(absl::ResourceExhaustedError(absl::StrCat(
        "the states of all sessions have more memory than the ", limit_ >> 20,
        " MB that they may, and this one has the most, ", largest.bytes >> 20,
        " MB; end segments sooner, or go on elsewhere")));
  }

 private:
  const int64_t limit_;
  std::atomic<int64_t> used_{0};
  mutable Mutex mutex_;
  std::set<const Holder*> holders_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_STATE_BUDGET_H_
