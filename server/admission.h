#ifndef LEAPSTREAM_SERVER_ADMISSION_H_
#define LEAPSTREAM_SERVER_ADMISSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "model/api/model.h"

namespace leapstream {

// A call that holds a permit, as Admission sees it. Thread-safe.
class LiveCall {
 public:
  virtual ~LiveCall() = default;
  virtual void Drain(absl::Time deadline) = 0;  // Say so; end when the open segment has, or then.
  virtual void End(absl::Status why) = 0;       // Within one step.
};

// Who may come in: a permit per session, none while draining. Knows the calls that did. Calls them
// only outside its lock. Thread-safe.
class Admission {
 public:
  explicit Admission(int max_sessions) : max_sessions_(max_sessions) {}

  int max_sessions() const { return max_sessions_; }

  // Gives `call` a permit until Release(). UNAVAILABLE with a delay after which to retry:
  // SERVER_FULL or DRAINING.
  absl::Status Admit(const std::shared_ptr<LiveCall>& call);
  void Release(const LiveCall* call);  // The permit; nothing if it was released.
  void Remove(const LiveCall* call);   // From the destructor: releases and forgets it.

  // Makes an admitted call the one of the session of this id; returns the one that was, if any.
  std::shared_ptr<LiveCall> Claim(const std::string& session_id,
                                  const std::shared_ptr<LiveCall>& call);

  // From now on nobody is admitted, and those that are get Drain(deadline).
  void StartDrain(absl::Time deadline);
  // Blocks until no call is left; false: not by the deadline, or Force() came first.
  bool WaitUntilEmpty(absl::Time deadline);
  void Force();  // Ends WaitUntilEmpty() now and at any later time.
  void EndAll(const absl::Status& why);

 private:
  struct Call {
    std::weak_ptr<LiveCall> call;
    std::string session_id;
    bool permit = true;
  };
  std::vector<std::shared_ptr<LiveCall>> All() const;

  const int max_sessions_;
  mutable Mutex mutex_;
  CondVar changed_;  // calls_ became empty, or forced_ was set.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool forced_ ABSL_GUARDED_BY(mutex_) = false;
  int permits_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<const LiveCall*, Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, const LiveCall*> by_session_ ABSL_GUARDED_BY(mutex_);
};

// "UNAVAILABLE, DRAINING", and such.
absl::Status Draining();

// Bytes of memory that a process can still get: what the kernel says is available, or what is left
// of its control group's limit, if that is less. 0: unknown.
int64_t AvailableMemory();

// How many sessions fit into half of `available_bytes`: the state that a session of the largest
// model starts with, and what 500 tokens of source and target add; never absurdly few or many.
int DefaultMaxSessions(const std::vector<std::shared_ptr<const Model>>& models,
                       int64_t available_bytes);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ADMISSION_H_
