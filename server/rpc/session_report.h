#ifndef LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_
#define LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/caller.h"
#include "server/metrics.h"
#include "streaming/session.h"

namespace leapstream {

// Reports one stream's session in the metrics and, at its end, to the log.
class SessionReport {
 public:
  SessionReport(Metrics* metrics, std::string id) : metrics_(metrics), id_(std::move(id)) {}

  // Of the opener's thread, before the session can say anything; the names are then constant.
  void SetId(std::string id) { id_ = std::move(id); }
  void SetModel(std::string model, const Policy& policy);
  void Started(bool resumed);
  // Of the step thread.
  void Completed(const SegmentCompleted& completed);
  void Summarized(const SessionSummary& summary);
  // The session is over, after `age`. `with_text`: the log may quote what the client sent.
  void Ended(const absl::Status& status, const Caller& caller, absl::Duration age,
             bool with_text) const;

  const std::string& id() const { return id_; }
  const std::string& model() const { return model_; }
  const std::string& policy() const { return policy_; }
  // The counts so far, and in the end the session's own. Thread-safe.
  SessionSummary summary() const;

 private:
  void CountDropped(int64_t bytes);

  Metrics* const metrics_;
  std::string id_, model_, policy_;
  LaggingMetrics lagging_metrics_;
  int64_t dropped_bytes_ = 0;  // As many are in the metrics.
  mutable Mutex mutex_;
  SessionSummary summary_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_SESSION_REPORT_H_
