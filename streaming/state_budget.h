#ifndef LEAPSTREAM_STREAMING_STATE_BUDGET_H_
#define LEAPSTREAM_STREAMING_STATE_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace leapstream {

// How much memory the states of all sessions have together, of every scheduler that it is given to,
// and how much they may have. Thread-safe.
class StateBudget {
 public:
  explicit StateBudget(int64_t limit) : limit_(limit) {}  // 0: there is none.

  int64_t limit() const { return limit_; }
  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  bool exceeded() const { return limit_ > 0 && used() > limit_; }
  void Add(int64_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }

 private:
  const int64_t limit_;
  std::atomic<int64_t> used_{0};
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_STATE_BUDGET_H_
