#ifndef LEAPSTREAM_SERVER_SERVED_MODELS_H_
#define LEAPSTREAM_SERVER_SERVED_MODELS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/glossary_text.h"
#include "base/mutex.h"
#include "server/language_choice.h"
#include "server/metrics.h"
#include "streaming/scheduler.h"

namespace leapstream {

// INVALID_ARGUMENT: two of the names are the same.
absl::Status CheckModelNames(std::vector<std::string> names);

// The models of one server, each with its schedulers, the replicas, which share its weights.
// Thread-safe. Calls that use the models have an OpenCall, and the destructor waits for all of
// them.
class ServedModels {
 public:
  // `metrics` must outlive this. `max_state_bytes` is the StateBudget of the sessions.
  // `glossaries`: those of models, by their names. INVALID_ARGUMENT: there are no models, or two of
  // one name, or a glossary has terms that its model cannot write.
  static absl::StatusOr<std::unique_ptr<ServedModels>> Create(
      std::vector<std::shared_ptr<const Model>> models, int replicas, Metrics* metrics,
      int64_t max_state_bytes = 0,
      std::map<std::string, std::vector<GlossaryTerm>> glossaries = {});
  // Waits until every OpenCall is destroyed. The gRPC server must be shut down before.
  ~ServedModels();

  struct Choice {
    std::shared_ptr<Scheduler> scheduler;
    LanguagePair languages;
  };
  // Finds the requested model by its name, or else by its languages, or else takes the only model,
  // and returns the replica with the fewest sessions, and the pair of languages: see
  // ChooseLanguages(). Without a name, models of the request's kind of source come before others.
  // Where both languages are asked for, a model of that one pair comes before those of many. A call
  // keeps the scheduler until it ends, and so the weights that it began with; it may drop the
  // scheduler on any thread. NOT_FOUND: there is no such model; the message names those that there
  // are. INVALID_ARGUMENT: several models fit, or the named or only model has other languages.
  absl::StatusOr<Choice> Find(const ModelRequest& request) const;
  // The versions of `current`'s model that have this checksum: `current` itself, and replaced ones
  // that are still there. They differ in their glossaries.
  std::vector<std::shared_ptr<Scheduler>> Versions(const std::shared_ptr<Scheduler>& current,
                                                   absl::string_view checksum) const;
  // The models that new sessions get, in the order of their names.
  std::vector<std::shared_ptr<const Model>> All() const;

  // All versions of the model of this name that are there: the one that new sessions get, and the
  // replaced ones.
  std::vector<std::shared_ptr<const Model>> Loaded(absl::string_view name) const;
  // True if new sessions get this very object, with these terms if they bring none.
  bool Serves(const Model& model, const std::vector<GlossaryTerm>& terms = {}) const;

  // Lets `model` translate something. Then new sessions get it, with a glossary of these terms, in
  // place of the model of the same name. A model that was replaced earlier, and is still there with
  // the same terms, comes back with its schedulers.
  // The old model stays for its sessions, and for sessions of it that break and are resumed.
  // NOT_FOUND: there is no model of that name. Other errors: `model` cannot translate, or not write
  // a term. After an error nothing has changed.
  absl::Status Replace(const std::shared_ptr<const Model>& model,
                       const std::vector<GlossaryTerm>& terms = {});
  // Drops replaced models that have had no session for kKeepUnused. To be called now and then.
  void DropUnused(SteadyTime now);
  static constexpr absl::Duration kKeepUnused = absl::Minutes(1);

  // Calls ReserveStates() for models that have sessions. To be called now and then.
  void ReserveAhead(int max_sessions) const;

  struct State {
    ModelInfo info;
    int sessions = 0;  // Those of replaced versions count, too.
    int64_t state_bytes = 0;
    absl::Duration turn_age;  // The largest Scheduler::turn_age() of its step loops.
    absl::Time since;         // The date on which the present version was loaded.
  };
  std::vector<State> States() const;

  int64_t max_state_bytes() const { return budget_.limit(); }

  // Every call has one as its first member, which is destroyed last. Then the server may go.
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
  class Reaper;  // Destroys schedulers that nobody has any more.
  using Replicas = std::vector<std::shared_ptr<Scheduler>>;  // One or more, of one model.
  struct Served {
    Replicas replicas;
    absl::Time since;
    const std::shared_ptr<const Model>& model() const { return replicas.front()->model(); }
  };

  struct Replaced {
    Replicas replicas;
    SteadyTime used;  // The time when they last had a session, or else were replaced.
  };

  ServedModels(int replicas, Metrics* metrics, int64_t max_state_bytes);
  void CallStarted();
  void CallEnded();
  static int Sessions(const Replicas& replicas);
  static std::shared_ptr<Scheduler> LeastBusy(const Replicas& replicas);
  absl::StatusOr<Replicas> MakeReplicas(const std::shared_ptr<const Model>& model,
                                        const std::vector<GlossaryTerm>& terms);
  static bool Has(const Replicas& replicas, const Model& model,
                  const std::vector<GlossaryTerm>& terms);
  std::vector<Served> Copy() const;
  // Moves the replaced ones for which `which` is true to `taken`.
  void TakeReplaced(std::vector<Replicas>* taken, const std::function<bool(const Replaced&)>& which)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int replicas_;
  Metrics* const metrics_;
  StateBudget budget_;
  const std::unique_ptr<Reaper> reaper_;
  mutable Mutex mutex_;
  CondVar call_ended_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Served> served_ ABSL_GUARDED_BY(mutex_);  // Sorted by name.
  std::vector<Replaced> replaced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SERVED_MODELS_H_
