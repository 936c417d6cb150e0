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

// What an operator may know of a call. No text.
struct CallDescription {
  std::string method;
  std::string session_id;  // These three are empty until the call has a session.
  std::string model;
  std::string policy;
  std::string principal;
  std::string peer;
  std::string trace_id;
  absl::Time started;  // The date…
  absl::Duration age;  // …and how long ago.
  int64_t segments = 0;  // Complete ones, and the tokens of these.
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  bool input_held = false;   // Its client is not read from: too much waits to be translated.
  bool output_held = false;  // It is not translated for: its client leaves too much unread.
};

// A call that holds a permit, as Admission sees it. Thread-safe.
class LiveCall {
 public:
  virtual ~LiveCall() = default;
  virtual CallDescription Describe() const = 0;
  // Of the token that it came in with, see TokenFile::Holder; empty: it needed none.
  virtual const std::string& token_entry() const = 0;
  virtual void Drain(SteadyTime deadline) = 0;  // Say so; end when the open segment has, or then.
  virtual void End(absl::Status why) = 0;       // Within one step.
};

// Who may come in: a permit per session, none once a drain has started. Knows the calls that did.
// Calls them only outside its lock. Thread-safe.
class Admission {
 public:
  // `max_per_principal`: 0 for no such limit.
  Admission(int max_sessions, int max_per_principal)
      : max_sessions_(max_sessions), max_per_principal_(max_per_principal) {}

  int max_sessions() const { return max_sessions_; }
  int taken() const;      // Permits.
  bool draining() const;  // Load balancers are to look elsewhere, whether or not calls are refused.

  // Gives `call` of `principal` (empty: anybody, for whom there is no quota) a permit until
  // Release(). UNAVAILABLE with a delay after which to retry: SERVER_FULL or DRAINING.
  // RESOURCE_EXHAUSTED: QUOTA_EXCEEDED.
  absl::Status Admit(const std::shared_ptr<LiveCall>& call, const std::string& principal);
  // True: a call that Admit() refused may stay for a moment, without a permit, since one of the same
  // principal has a permit that Claim() could give it. False: none has, or as many wait for that
  // as may, or a drain has started.
  bool Await(const std::shared_ptr<LiveCall>& call, const std::string& principal);
  void Release(const LiveCall* call);  // The permit; nothing if it was released.
  void Remove(const LiveCall* call);   // From the destructor: releases and forgets it.

  struct Claimed {
    bool admitted = false;               // The call has a permit.
    std::shared_ptr<LiveCall> previous;  // The session's call until now, if there was one.
  };
  // Makes a call the one of the session of this id. One that waits without a permit takes that of
  // the session's call if both are of one principal, or else one that has become free; if there is
  // none, nothing changes.
  Claimed Claim(const std::string& session_id, const std::shared_ptr<LiveCall>& call);

  // draining() from now on; else all stays as it is. Blocks until then, or until Force().
  void AnnounceDrain(SteadyTime until);
  // From now on nobody is admitted, and those that are get Drain(deadline).
  void StartDrain(SteadyTime deadline);
  // Blocks until no call is left; false: not by the deadline, or Force() came first. A process that
  // was stopped has as long again as that made it late.
  bool WaitUntilEmpty(SteadyTime deadline);
  void Force();  // Ends AnnounceDrain() and WaitUntilEmpty() now and at any later time.
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
  // Gives `call`, whose principal is known, a permit; or says why not.
  absl::Status TakePermit(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleasePermit(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_sessions_;
  const int max_per_principal_;
  mutable Mutex mutex_;
  CondVar changed_;  // calls_ became empty, or forced_ was set.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool refusing_ ABSL_GUARDED_BY(mutex_) = false;
  bool forced_ ABSL_GUARDED_BY(mutex_) = false;
  int permits_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // Calls that wait; see Await().
  std::map<std::string, int> by_principal_ ABSL_GUARDED_BY(mutex_);  // Permits; none is 0.
  std::map<const LiveCall*, Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, const LiveCall*> by_session_ ABSL_GUARDED_BY(mutex_);
};

// The bytes that calls may hold together of what they were sent and what they answer, beside the
// buffers of gRPC and the states of their sessions. Thread-safe.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  int64_t limit() const { return limit_; }
  int64_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  friend class TakenBytes;
  // False: there are not so many.
  bool Take(int64_t bytes) {
    if (taken_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= limit_) return true;
    GiveBack(bytes);
    return false;
  }
  void GiveBack(int64_t bytes) { taken_.fetch_sub(bytes, std::memory_order_relaxed); }

  const int64_t limit_;
  std::atomic<int64_t> taken_{0};
};

// What one call has of a budget, which must outlive it; given back when it goes. Of one thread at a
// time.
class TakenBytes {
 public:
  explicit TakenBytes(ByteBudget* budget) : budget_(budget) {}
  ~TakenBytes() { budget_->GiveBack(taken_); }
  TakenBytes(const TakenBytes&) = delete;
  TakenBytes& operator=(const TakenBytes&) = delete;

  // Has `bytes` in all from now on, or what it had if that was more. UNAVAILABLE with a delay after
  // which to retry: SERVER_FULL, and it has what it had.
  absl::Status GrowTo(int64_t bytes);

 private:
  ByteBudget* const budget_;
  int64_t taken_ = 0;
};

// "UNAVAILABLE, DRAINING", and such.
absl::Status Draining();

// Bytes of memory that this process can still get: the least of what the kernel says is available,
// what its control groups leave, and what its own limit of address space does. 0: unknown. `root`:
// see ReadGroupLimits().
int64_t AvailableMemory(const std::string& root = "");

// The ByteBudget of a server that has so much memory. 0: unknown.
int64_t TextBytes(int64_t available_bytes);

// How many sessions fit into half of `available_bytes`: the state that a session of the largest
// model starts with, and what 500 tokens of source and target add; never absurdly few or many.
int DefaultMaxSessions(const std::vector<std::shared_ptr<const Model>>& models,
                       int64_t available_bytes);

// What the states of all sessions may have together: half of `available_bytes`, or up to three
// quarters, if `max_sessions` of 500 tokens need it. 0: unknown.
int64_t DefaultMaxStateBytes(const std::vector<std::shared_ptr<const Model>>& models,
                             int64_t available_bytes, int max_sessions);

// Takes memory for the states of sessions of `model` to come, so that they fault no page: on the
// CPU for as many as 64 MB hold beyond the `open` ones, on another device for all of `max_sessions`
// at once. To be called before the first, and then now and then. Safe while the model is in use.
// RESOURCE_EXHAUSTED: there is not so much.
absl::Status ReserveStates(const Model& model, int open, int max_sessions);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ADMISSION_H_
