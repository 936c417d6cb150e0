#ifndef LEAPSTREAM_SERVER_SERVED_MODELS_H_
#define LEAPSTREAM_SERVER_SERVED_MODELS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "streaming/scheduler.h"

namespace leapstream {

struct ModelRequest {
  std::string name;  // Each may be empty.
  std::string source_language;
  std::string target_language;
};

// The models of one server, each with its scheduler. Thread-safe. The calls that use it count
// themselves, so that it does not go before they do.
class ServedModels {
 public:
  // INVALID_ARGUMENT: none, or two of one name.
  static absl::StatusOr<std::unique_ptr<ServedModels>> Create(
      std::vector<std::shared_ptr<const Model>> models);
  ~ServedModels();  // Waits for CallEnded() of all calls: the gRPC server must be shut down
                    // already.

  // The model asked for: by name, else by languages (a missing one fits all; "de" fits "de-AT"),
  // else the only one. NOT_FOUND: no such model, names those there are. INVALID_ARGUMENT: several
  // fit, or the languages are not the named model's. The scheduler is owned by this.
  absl::StatusOr<Scheduler*> Find(const ModelRequest& request) const;
  const std::vector<std::unique_ptr<Scheduler>>& schedulers() const { return schedulers_; }

  void CallStarted();
  void CallEnded();

 private:
  ServedModels() = default;
  std::string Names() const;

  Mutex mutex_;
  CondVar call_ended_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Scheduler>>
      schedulers_;  // By name. Last: their threads use the above.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVED_MODELS_H_
