#ifndef LEAPSTREAM_SERVER_SERVED_MODELS_H_
#define LEAPSTREAM_SERVER_SERVED_MODELS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "server/metrics.h"
#include "streaming/scheduler.h"

namespace leapstream {

struct ModelRequest {
  std::string name;  // Each may be empty.
  std::string source_language;
  std::string target_language;
};

// INVALID_ARGUMENT: two of one name.
absl::Status CheckModelNames(std::vector<std::string> names);

// The models of one server, each with its schedulers: replicas, which share its weights.
// Thread-safe. The calls that use it count themselves, so that it does not go before they do.
class ServedModels {
 public:
  // INVALID_ARGUMENT: none, or two of one name. `metrics` must outlive this. `max_state_bytes`: that
  // the sessions' states may have, see StateBudget.
  static absl::StatusOr<std::unique_ptr<ServedModels>> Create(
      std::vector<std::shared_ptr<const Model>> models, int replicas, Metrics* metrics,
      int64_t max_state_bytes = 0);
  ~ServedModels();  // Waits for every OpenCall to go: the gRPC server must be shut down
                    // already.

  // The model asked for: by name, else by languages (a missing one fits all; "de" fits "de-AT"),
  // else the only one. NOT_FOUND: no such model, names those there are. INVALID_ARGUMENT: several
  // fit, or the languages are not the named model's. The replica with the fewest sessions. A call
  // keeps the scheduler until it ends, and so the weights that it began with; it may drop it on any
  // thread.
  absl::StatusOr<std::shared_ptr<Scheduler>> Find(const ModelRequest& request) const;
  // The version of `current`'s model that has this checksum: itself, one that it has replaced and
  // that is still there, or null.
  std::shared_ptr<Scheduler> Version(const std::shared_ptr<Scheduler>& current,
                                     absl::string_view checksum) const;
  // Those that new sessions get, by name.
  std::vector<std::shared_ptr<const Model>> All() const;

  // All that there are of this name: what new sessions get, and what others still have.
  std::vector<std::shared_ptr<const Model>> Loaded(absl::string_view name) const;
  // Whether new sessions get this very model.
  bool Serves(const Model& model) const;

  // New sessions get `model` in place of that of the same name, once it has translated something.
  // One that was replaced earlier, and is still there, comes back with its schedulers.
  // NOT_FOUND: there is none of that name. Other errors: it cannot translate. Then nothing changes.
  // The old one stays for its sessions, and for those that break and are resumed.
  absl::Status Replace(const std::shared_ptr<const Model>& model);
  // Lets replaced ones go that had no session for kKeepUnused. To be called now and then.
  void DropUnused(SteadyTime now);
  static constexpr absl::Duration kKeepUnused = absl::Minutes(1);

  // See ReserveStates(). To be called now and then.
  void ReserveAhead(int max_sessions) const;

  struct State {
    ModelInfo info;
    int sessions = 0;  // With those that are still on earlier weights.
    int64_t state_bytes = 0;
    absl::Duration turn_age;  // The largest of its step loops; see Scheduler::turn_age().
    absl::Time since;         // The date on which it was loaded.
  };
  std::vector<State> States() const;

  int64_t max_state_bytes() const { return budget_.limit(); }

  // Of a call, which has it as its first member, so that it goes last: the server may go then.
  class OpenCall {
   public:
    explicit OpenCall(ServedModels* models) : models_(models) { models_->CallStarted(); }
    ~OpenCall() { models_->CallEnded(); }
    OpenCall(const OpenCall&) = delete;
    OpenCall& operator=(const OpenCall&) = delete;

   private:
    ServedModels* const models_;
  };

 private:
  class Reaper;  // Ends schedulers that nobody has any more.
  using Replicas = std::vector<std::shared_ptr<Scheduler>>;  // One at least, of one model.
  struct Served {
    Replicas replicas;
    absl::Time since;
    const std::shared_ptr<const Model>& model() const { return replicas.front()->model(); }
  };

  struct Replaced {
    Replicas replicas;
    SteadyTime used;  // When they were last seen with a session, or else were replaced.
  };

  ServedModels(int replicas, Metrics* metrics, int64_t max_state_bytes);
  void CallStarted();
  void CallEnded();
  static int Sessions(const Replicas& replicas);
  static std::shared_ptr<Scheduler> LeastBusy(const Replicas& replicas);
  Replicas MakeReplicas(const std::shared_ptr<const Model>& model);
  std::vector<Served> Copy() const;
  // Moves those to `taken` of which `which` is true.
  void TakeReplaced(std::vector<Replicas>* taken, const std::function<bool(const Replaced&)>& which)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int replicas_;
  Metrics* const metrics_;
  StateBudget budget_;
  const std::unique_ptr<Reaper> reaper_;
  mutable Mutex mutex_;
  CondVar call_ended_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Served> served_ ABSL_GUARDED_BY(mutex_);  // By name.
  std::vector<Replaced> replaced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVED_MODELS_H_
