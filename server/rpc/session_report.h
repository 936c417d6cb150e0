#ifndef LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_
#define LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/accounts.h"
#include "server/caller.h"
#include "server/metrics.h"
#include "streaming/session.h"

namespace leapstream {

// Reports one stream's session in the metrics and, at its end, to the log.
class SessionReport {
 public:
  SessionReport(Metrics* metrics, std::string id) : metrics_(metrics), id_(std::move(id)) {}

  // The next three are called by the opener's thread, before the session has any event. After that
  // the id and the names are constant.
  void SetId(std::string id) { id_ = std::move(id); }
  void SetModel(std::string model, const SessionOptions& options);
  void Started(bool resumed);
  // The next two are called by the step thread.
  void Completed(const SegmentCompleted& completed);
  void Summarized(const SessionSummary& summary);
  // Reports that the session is over, after `age`. `with_text`: the log may have the error message,
  // which may quote the client's text.
  void Ended(const absl::Status& status, const Caller& caller, const CallUsage& usage,
             absl::Duration age, bool with_text) const;

  const std::string& id() const { return id_; }
  const std::string& model() const { return model_; }
  const std::string& policy() const { return policy_; }
  // The counts of the complete segments so far, and at the end those of the whole session.
  // Thread-safe.
  SessionSummary summary() const;

 private:
  void CountDropped(int64_t bytes);

  Metrics* const metrics_;
  std::string id_, model_, policy_;
  LanguagePair languages_;
  LaggingMetrics lagging_metrics_;
  int64_t dropped_bytes_ = 0;  // The bytes that the metrics have already.
  mutable Mutex mutex_;
  SessionSummary summary_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_
