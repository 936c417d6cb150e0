#ifndef LEAPSTREAM_SERVER_METRICS_H_
#define LEAPSTREAM_SERVER_METRICS_H_

#include <prometheus/labels.h>
#include <prometheus/registry.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "model/api/languages.h"
#include "model/api/model.h"
#include "server/logging.h"
#include "streaming/policy.h"
#include "streaming/session.h"
#include "streaming/step_observer.h"

namespace prometheus {
class Counter;
class Histogram;
template <typename T>
class Family;
}  // namespace prometheus

namespace leapstream {

// The metrics of the sessions and steps of one model. Thread-safe.
class ModelMetrics final : public StepObserver {
 public:
  void OnStep(const StepFigures& step) override;
  void OnToken(absl::Duration latency) override;
  void OnFirstToken(absl::Duration since_source) override;
  void OnNoMemory(absl::string_view why, int sessions) override;  // Logs it, now and then.

 private:
  friend class Metrics;
  std::string model_;
  LineRate no_memory_lines_;
  std::atomic<int64_t> without_memory_{0};  // The sessions that OnNoMemory() has been told of.
  prometheus::Counter* source_tokens_ = nullptr;
  prometheus::Counter* target_tokens_ = nullptr;
  prometheus::Histogram* first_token_ = nullptr;
  prometheus::Histogram* token_latency_ = nullptr;
  prometheus::Histogram* step_duration_ = nullptr;
  prometheus::Histogram* read_batch_ = nullptr;
  prometheus::Histogram* write_batch_ = nullptr;
};

// The methods of the services, for the standard grpc_server_* metrics.
enum class Method { kStreamTranslate, kTranslate, kListModels, kGenerate, kScore, kTokenize };

// The counters of what one principal uses. Thread-safe.
struct UsageMetrics {
  prometheus::Counter* source_characters = nullptr;
  prometheus::Counter* audio_seconds = nullptr;
  prometheus::Counter* target_tokens = nullptr;
  prometheus::Counter* prompt_tokens = nullptr;
  prometheus::Counter* generated_tokens = nullptr;
  std::map<Method, prometheus::Counter*> requests;  // Of the methods that need a permit.
};

class Metrics;

// The lagging metrics of the sessions of one model and policy. Null pointers count nothing.
struct LaggingMetrics {
  prometheus::Histogram* average_lagging = nullptr;
  prometheus::Histogram* length_adaptive = nullptr;
  Metrics* all = nullptr;  // The means of all figures are counted there, with these labels.
  std::string model, k;
  void Observe(const SegmentStats& stats) const;
};

class CallMetrics;

// All events that a server counts; its present state is in CollectState(). No metric has a label
// per session, and no label has more values than a configuration, a few policies and
// budget::kPrincipalsInMetrics give it. Thread-safe.
class Metrics {
 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  // The metrics of the model of this name. They live as long as this object.
  ModelMetrics* ForModel(const std::string& model);
  // The metrics of a principal, under the label "anonymous" if it is empty. The metrics of the
  // first ones have labels of their own, and those of all others the label "other". They live as
  // long as this object.
  const UsageMetrics* ForPrincipal(const std::string& principal);
  LaggingMetrics ForLagging(const std::string& model, const Policy& policy);

  // `labels` say which model, policy and unit the figures belong to.
  void ObserveLagging(const prometheus::Labels& labels, const metrics::Lagging& lagging);

  void SessionStarted(const std::string& model, bool resumed);
  void LanguagesChosen(const std::string& model, const LanguagePair& pair);
  // Counts the session by the code of `status` and by its ReasonOf().
  void SessionFinished(const std::string& model, const absl::Status& status);
  void SessionRejected(absl::string_view reason);
  // `cut` says why the translation ended before it was complete. Null: it was complete, as far as
  // is known.
  void SegmentCompleted(const std::string& model, const char* cut, int untranslated_source_tokens);
  void SourceDropped(const std::string& model, int64_t bytes);
  void InputHeld(absl::Duration time);   // Nothing was read from a client for so long.
  void OutputHeld(absl::Duration time);  // A session was not decoded for so long.
  void ModelReloaded(const std::string& model, bool ok);

  const prometheus::Registry& registry() const { return registry_; }

 private:
  friend class CallMetrics;
  struct Families;
  struct MethodMetrics {
    prometheus::Counter* started;
    prometheus::Counter* received;
    prometheus::Counter* sent;
    prometheus::Histogram* seconds;
  };

  prometheus::Registry registry_;
  const std::unique_ptr<Families> families_;
  std::map<Method, MethodMetrics> methods_;  // Constant once constructed.
  prometheus::Counter* input_held_;
  prometheus::Counter* output_held_;
  Mutex mutex_;
  std::map<std::string, std::unique_ptr<ModelMetrics>> models_ ABSL_GUARDED_BY(mutex_);
  // Keyed by label.
  std::map<std::string, std::unique_ptr<UsageMetrics>> principals_ ABSL_GUARDED_BY(mutex_);
};

// Counts one call in the grpc_server_* metrics. Received() and Sent() are thread-safe; the rest is
// not.
class CallMetrics {
 public:
  CallMetrics(Metrics* metrics, Method method);
  void Received();
  void Sent();
  void Handled(absl::StatusCode code);  // Counts the end. To be called once.

 private:
  Metrics* const metrics_;
  const Method method_;
  const Metrics::MethodMetrics& counters_;
  const SteadyTime started_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_METRICS_H_
