#ifndef LEAPSTREAM_SERVER_ADMISSION_H_
#define LEAPSTREAM_SERVER_ADMISSION_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "model/api/model.h"

namespace leapstream {

class Accounts;

// A call as an operator sees it. It holds no text.
struct CallDescription {
  std::string method;
  std::string session_id;  // These three are empty until the call has a session.
  std::string model;
  std::string policy;
  std::string principal;
  std::string peer;
  std::string trace_id;
  absl::Time started;    // A date.
  absl::Duration age;    // The time since the start.
  int64_t segments = 0;  // Those that are complete. The next two numbers are of these.
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  bool input_held = false;   // Nothing is read from the client: too much waits to be translated.
  bool output_held = false;  // Nothing is translated: the client leaves too much unread.
};

// A call that holds a permit, as Admission sees it. Thread-safe.
class LiveCall {
 public:
  virtual ~LiveCall() = default;
  virtual CallDescription Describe() const = 0;
  // The TokenFile::Holder::entry of the call's token; empty: the call needed no token.
  virtual const std::string& token_entry() const = 0;
  // Tells the client that the server drains. The call ends with its open segment, or at the
  // deadline.
  virtual void Drain(SteadyTime deadline) = 0;
  // Ends the call within one step of the model.
  virtual void End(absl::Status why) = 0;
};

// Decides which calls may come in: each session needs a permit, and there are none once a drain has
// started. It knows the calls that it let in, and calls them only outside its lock. Thread-safe.
class Admission {
 public:
  // `max_per_principal` of 0 means that there is no such limit, and null `accounts` that principals
  // have no quotas. `accounts` must outlive this.
  Admission(int max_sessions, int max_per_principal, Accounts* accounts = nullptr)
      : max_sessions_(max_sessions),
        max_per_principal_(max_per_principal),
        accounts_(accounts) {}

  int max_sessions() const { return max_sessions_; }
  int taken() const;  // The number of permits that calls have.
  // True: load balancers are to look elsewhere, whether or not calls are refused yet.
  bool draining() const;

  // Gives `call` a permit until Release(). An empty `principal` stands for anybody and has no
  // quota. UNAVAILABLE with a retry delay: SERVER_FULL or DRAINING. RESOURCE_EXHAUSTED:
  // QUOTA_EXCEEDED, with a retry delay if the principal has used up one of its Account. A call that
  // `may_resume` gets a permit all the same, since its source may be counted already.
  absl::Status Admit(const std::shared_ptr<LiveCall>& call, const std::string& principal,
                     bool may_resume = false);
  // Asks whether a call that Admit() refused may stay for a moment, without a permit. True: another
  // call of the same principal has a permit, which Claim() could give to this one. False: there is
  // no such call, or a drain has started, or budget::kUndecidedCalls calls wait already.
  bool Await(const std::shared_ptr<LiveCall>& call, const std::string& principal);
  // Takes the call's permit back. Does nothing if the call has none.
  void Release(const LiveCall* call);
  // Releases the permit and forgets the call. To be called by the call's destructor.
  void Remove(const LiveCall* call);

  // Whether a call has the session of this id.
  bool Holds(const std::string& session_id) const;

  struct Claimed {
    bool admitted = false;               // The call has a permit.
    std::shared_ptr<LiveCall> previous;  // The session's call until now, if there was one.
  };
  // Makes `call` the call of this session. A call that waits without a permit takes the permit of
  // the session's call, if both are of one principal, or else a permit that has become free. If
  // there is none, nothing changes and `admitted` is false.
  Claimed Claim(const std::string& session_id, const std::shared_ptr<LiveCall>& call);

  // Makes draining() true; all else stays as it is. Blocks until the time `until`, or until
  // Force().
  void AnnounceDrain(SteadyTime until);
  // Admits nobody from now on, and calls Drain(deadline) of each call that was admitted.
  void StartDrain(SteadyTime deadline);
  // Blocks until no call is left. False: calls were left at the deadline, or Force() came first. If
  // this process was stopped and sees the deadline late, it waits as long again as it was late.
  bool WaitUntilEmpty(SteadyTime deadline);
  // Ends AnnounceDrain() and WaitUntilEmpty(), now and whenever they are called later.
  void Force();
  void EndAll(const absl::Status& why);
  std::vector<std::shared_ptr<LiveCall>> WithPermit() const;

 private:
  struct Call {
    std::weak_ptr<LiveCall> call;
    std::string principal;
    std::string session_id;
    bool permit = false;
    bool waits = false;  // See Await().
  };
  std::vector<std::shared_ptr<LiveCall>> All() const;
  // Gives `call` a permit, or returns the error of Admit(), but for the quotas of its Account.
  // `call->principal` must be set.
  absl::Status TakePermit(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleasePermit(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_sessions_;
  const int max_per_principal_;
  Accounts* const accounts_;
  mutable Mutex mutex_;
  CondVar changed_;  // Notified when calls_ became empty or forced_ was set.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool refusing_ ABSL_GUARDED_BY(mutex_) = false;
  bool forced_ ABSL_GUARDED_BY(mutex_) = false;
  int permits_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // Calls that wait; see Await().
  std::map<std::string, int> by_principal_ ABSL_GUARDED_BY(mutex_);  // Permits, 1 or more.
  std::map<const LiveCall*, Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, const LiveCall*> by_session_ ABSL_GUARDED_BY(mutex_);
};

// The bytes that all calls together may hold of their requests and answers. The buffers of gRPC and
// the states of sessions do not count. Thread-safe.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  int64_t limit() const { return limit_; }
  int64_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  friend class TakenBytes;
  // False: fewer bytes are left, and none was taken.
  bool Take(int64_t bytes) {
    int64_t taken = taken_.load(std::memory_order_relaxed);
    while (taken + bytes <= limit_) {
      if (taken_.compare_exchange_weak(taken, taken + bytes, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void GiveBack(int64_t bytes) { taken_.fetch_sub(bytes, std::memory_order_relaxed); }

  const int64_t limit_;
  std::atomic<int64_t> taken_{0};
};

// The bytes that one call has of a budget. The budget must outlive them; the destructor gives them
// back. Used by one thread at a time.
class TakenBytes {
 public:
  explicit TakenBytes(ByteBudget* budget) : budget_(budget) {}
  ~TakenBytes() { budget_->GiveBack(taken_); }
  TakenBytes(const TakenBytes&) = delete;
  TakenBytes& operator=(const TakenBytes&) = delete;

  // Raises the call's bytes to `bytes` in all; never lowers them. UNAVAILABLE with a retry delay:
  // SERVER_FULL, and nothing has changed.
  absl::Status GrowTo(int64_t bytes);
  // Lowers the call's bytes to `bytes` in all; never raises them.
  void ShrinkTo(int64_t bytes) {
    if (bytes >= taken_) return;
    budget_->GiveBack(taken_ - bytes);
    taken_ = bytes;
  }

 private:
  ByteBudget* const budget_;
  int64_t taken_ = 0;
};

// UNAVAILABLE with a retry delay: SERVER_FULL with the message `why`, or DRAINING.
absl::Status ServerFull(absl::string_view why);
absl::Status Draining();
// The status of a call whose session Scheduler::Open() refused with `why`. A lack of memory is
// logged, too, in one line in ten seconds at most.
absl::Status NotOpened(const absl::Status& why);

// The bytes of memory that this process can still get: the least of what the kernel says is
// available, what its control groups leave, and what its own limit of address space leaves. 0:
// unknown. `root`: see ReadGroupLimits().
int64_t AvailableMemory(const std::string& root = "");

// The limit of the ByteBudget of a server. `available_bytes` may be 0: unknown.
int64_t TextBytes(int64_t available_bytes);

// The number of sessions that fit into half of `available_bytes`, but 4 at least and 20,000 at
// most. A session counts with its buffers, the state that it starts with, and what 500 tokens of
// source and target add to the state, in the largest of `models`.
int DefaultMaxSessions(const std::vector<std::shared_ptr<const Model>>& models,
                       int64_t available_bytes);

// The bytes that the states of all sessions may have together: half of `available_bytes`, or up to
// three quarters if `max_sessions` sessions of 500 tokens need it. If `available_bytes` is 0, which
// means unknown, the result is 0: no limit.
int64_t DefaultMaxStateBytes(const std::vector<std::shared_ptr<const Model>>& models,
                             int64_t available_bytes, int max_sessions);

// Takes memory for the states of later sessions of `model`, so that opening them faults no page. On
// the CPU it is memory for as many states as 64 MB hold, beyond those of the `open` sessions. On
// another device it is memory for all of `max_sessions`, taken when `open` is 0. To be called
// before the first session, and then now and then. Safe while the model is in use.
// RESOURCE_EXHAUSTED: there is not so much memory.
absl::Status ReserveStates(const Model& model, int open, int max_sessions);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ADMISSION_H_
