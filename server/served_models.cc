#include "server/served_models.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/language_model.h"
#include "server/admission.h"
#include "server/status_mapping.h"
#include "streaming/glossary.h"

namespace leapstream {
namespace {

template <typename Served>
std::string Names(const std::vector<Served>& models) {
  return absl::StrJoin(models, ", ", [](std::string* out, const Served& served) {
    out->append(served.model()->info.name);
  });
}

// Makes a few steps, so that a model that cannot make one never replaces one that can, and so that
// the first session finds the weights in memory.
absl::Status WarmUp(const Model& model) {
  std::unique_ptr<SessionState> state;
  LEAPSTREAM_ASSIGN_OR_RETURN(state, model.translator->NewState());
  const TokenId unknown = kUnknown;
  if (const LanguageModel* const text = model.translator->language_model()) {
    const TextRows rows{state.get(), absl::MakeConstSpan(&unknown, 1)};
    return text->Extend({rows}, [](size_t, size_t, const TokenScores&) { return true; });
  }
  const std::vector<float> silence(
      model.info.speech.has_value() ? model.info.speech->SamplesPerRead() : 0);
  SessionState* states[] = {state.get()};
  Decision decision;
  for (int step = 0; step < 3; ++step) {
    SourceRows row;
    row.state = state.get();
    if (silence.empty()) {
      row.tokens = absl::MakeConstSpan(&unknown, 1);
    } else {
      row.samples = silence;
    }
    const SourceRows rows[] = {row};
    LEAPSTREAM_RETURN_IF_ERROR(model.translator->Read(rows));
    LEAPSTREAM_RETURN_IF_ERROR(model.translator->Decide(states, absl::MakeSpan(&decision, 1)));
    if (!decision.finite()) return NotFiniteError();
    if (!decision.wants_source) state->Commit(decision.best.id);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckModelNames(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("two models are named ", *twice,
                   "; clients ask for them by name: export one with --name, or list it under "
                   "another name in the config's models"));
}

// Destroys schedulers on a thread of its own: the last one to drop a scheduler may be the
// scheduler's own step thread, which cannot join itself.
class ServedModels::Reaper {
 public:
  Reaper() : thread_([this] { Run(); }) {}
  ~Reaper() {
    {
      MutexLock lock(&mutex_);
      stop_ = true;
      changed_.NotifyOne();
    }
    thread_.join();
  }
  void Take(Scheduler* scheduler) {
    MutexLock lock(&mutex_);
    dropped_.emplace_back(scheduler);
    changed_.NotifyOne();
  }

 private:
  void Run() {
    bool stop = false;
    while (!stop) {
      std::vector<std::unique_ptr<Scheduler>> dropped;  // Destroyed after the lock is released.
      MutexLock lock(&mutex_);
      while (!stop_ && dropped_.empty()) changed_.Wait(&mutex_);
      dropped.swap(dropped_);
      stop = stop_;
    }
  }

  Mutex mutex_;
  CondVar changed_;  // Notified when stop_ was set or dropped_ got something.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Scheduler>> dropped_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the members above.
};

ServedModels::ServedModels(int replicas, Metrics* metrics, int64_t max_state_bytes)
    : replicas_(replicas),
      metrics_(metrics),
      budget_(max_state_bytes),
      reaper_(std::make_unique<Reaper>()) {}

absl::StatusOr<ServedModels::Replicas> ServedModels::MakeReplicas(
    const std::shared_ptr<const Model>& model, const std::vector<GlossaryTerm>& terms) {
  std::shared_ptr<const Glossary> glossary;
  if (!terms.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(glossary, Glossary::Create(terms, *model));
  }
  ModelMetrics* const metrics = metrics_->ForModel(model->info.name);
  Replicas replicas;
  for (int i = 0; i < replicas_; ++i) {
    replicas.emplace_back(
        new Scheduler(model, metrics, &budget_, glossary),
        [reaper = reaper_.get()](Scheduler* scheduler) { reaper->Take(scheduler); });
  }
  return replicas;
}

absl::StatusOr<std::unique_ptr<ServedModels>> ServedModels::Create(
    std::vector<std::shared_ptr<const Model>> models, int replicas, Metrics* metrics,
    int64_t max_state_bytes, std::map<std::string, std::vector<GlossaryTerm>> glossaries) {
  if (models.empty()) return absl::InvalidArgumentError("no model to serve; name one at least");
  std::sort(models.begin(), models.end(),
            [](const auto& a, const auto& b) { return a->info.name < b->info.name; });
  std::vector<std::string> names;
  for (const auto& model : models) names.push_back(model->info.name);
  LEAPSTREAM_RETURN_IF_ERROR(CheckModelNames(std::move(names)));
  auto served = absl::WrapUnique(new ServedModels(replicas, metrics, max_state_bytes));
  MutexLock lock(&served->mutex_);
  for (const auto& model : models) {
    LEAPSTREAM_ASSIGN_OR_RETURN(Replicas made,
                                served->MakeReplicas(model, glossaries[model->info.name]));
    served->served_.push_back({std::move(made), absl::Now()});
  }
  return served;
}

ServedModels::~ServedModels() {
  std::vector<Served> served;  // These two are destroyed before the reaper.
  std::vector<Replaced> replaced;
  MutexLock lock(&mutex_);
  while (calls_ > 0) call_ended_.Wait(&mutex_);
  served.swap(served_);
  replaced.swap(replaced_);
}

std::vector<ServedModels::Served> ServedModels::Copy() const {
  MutexLock lock(&mutex_);
  return served_;
}

std::vector<std::shared_ptr<const Model>> ServedModels::All() const {
  std::vector<std::shared_ptr<const Model>> all;
  for (const Served& served : Copy()) all.push_back(served.model());
  return all;
}

std::vector<std::shared_ptr<const Model>> ServedModels::Loaded(absl::string_view name) const {
  std::vector<std::shared_ptr<const Model>> loaded;
  MutexLock lock(&mutex_);
  for (const Served& served : served_) {
    if (served.model()->info.name == name) loaded.push_back(served.model());
  }
  for (const Replaced& replaced : replaced_) {
    const auto& model = replaced.replicas.front()->model();
    if (model->info.name == name) loaded.push_back(model);
  }
  return loaded;
}

bool ServedModels::Has(const Replicas& replicas, const Model& model,
                       const std::vector<GlossaryTerm>& terms) {
  const Scheduler& scheduler = *replicas.front();
  if (scheduler.model().get() != &model) return false;
  if (scheduler.glossary() == nullptr) return terms.empty();
  return GlossaryText(scheduler.glossary()->terms()) == GlossaryText(terms);
}

bool ServedModels::Serves(const Model& model, const std::vector<GlossaryTerm>& terms) const {
  MutexLock lock(&mutex_);
  return std::any_of(served_.begin(), served_.end(),
                     [&](const Served& served) { return Has(served.replicas, model, terms); });
}

absl::Status ServedModels::Replace(const std::shared_ptr<const Model>& model,
                                   const std::vector<GlossaryTerm>& terms) {
  LEAPSTREAM_RETURN_IF_ERROR(WarmUp(*model));
  LEAPSTREAM_ASSIGN_OR_RETURN(Replicas replicas, MakeReplicas(model, terms));
  const std::string& name = model->info.name;
  std::vector<Replicas> dropped;  // Destroyed after the lock is released.
  MutexLock lock(&mutex_);
  std::vector<Replicas> again;
  TakeReplaced(&again,
               [&](const Replaced& replaced) { return Has(replaced.replicas, *model, terms); });
  if (!again.empty()) {
    dropped.push_back(std::exchange(replicas, std::move(again.front())));
  }
  for (Served& served : served_) {
    if (served.model()->info.name != name) continue;
    // Reloads that follow each other must not fill the memory: one unused version is enough.
    TakeReplaced(&dropped, [&name](const Replaced& replaced) {
      return replaced.replicas.front()->model()->info.name == name &&
             Sessions(replaced.replicas) == 0;
    });
    served.since = absl::Now();
    replaced_.push_back({std::exchange(served.replicas, std::move(replicas)), SteadyNow()});
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("no model named ", Quoted(model->info.name),
                                          " is served, so there is none to replace"));
}

void ServedModels::TakeReplaced(std::vector<Replicas>* taken,
                                const std::function<bool(const Replaced&)>& which) {
  for (size_t i = replaced_.size(); i-- > 0;) {
    if (!which(replaced_[i])) continue;
    taken->push_back(std::move(replaced_[i].replicas));
    replaced_.erase(replaced_.begin() + static_cast<int64_t>(i));
  }
}

int ServedModels::Sessions(const Replicas& replicas) {
  int sessions = 0;
  for (const auto& scheduler : replicas) sessions += scheduler->open_sessions();
  return sessions;
}

std::shared_ptr<Scheduler> ServedModels::LeastBusy(const Replicas& replicas) {
  return *std::min_element(replicas.begin(), replicas.end(), [](const auto& a, const auto& b) {
    return a->open_sessions() < b->open_sessions();
  });
}

void ServedModels::DropUnused(SteadyTime now) {
  std::vector<Replicas> dropped;  // Destroyed after the lock is released.
  MutexLock lock(&mutex_);
  for (Replaced& replaced : replaced_) {
    if (Sessions(replaced.replicas) > 0) replaced.used = now;
  }
  TakeReplaced(&dropped,
               [now](const Replaced& replaced) { return now - replaced.used >= kKeepUnused; });
}

void ServedModels::ReserveAhead(int max_sessions) const {
  for (const Served& served : Copy()) {
    const int open = Sessions(served.replicas);
    // An error does no harm here: a session then takes its own memory, and fails if there is none.
    if (open > 0) ReserveStates(*served.model(), open, max_sessions).IgnoreError();
  }
}

std::vector<std::shared_ptr<Scheduler>> ServedModels::Versions(
    const std::shared_ptr<Scheduler>& current, absl::string_view checksum) const {
  std::vector<std::shared_ptr<Scheduler>> versions;
  const ModelInfo& info = current->model()->info;
  if (info.checksum == checksum) versions.push_back(current);
  MutexLock lock(&mutex_);
  for (const Replaced& replaced : replaced_) {
    const ModelInfo& old = replaced.replicas.front()->model()->info;
    if (old.name != info.name || old.checksum != checksum) continue;
    versions.push_back(LeastBusy(replaced.replicas));
  }
  return versions;
}

std::vector<ServedModels::State> ServedModels::States() const {
  std::vector<State> states;
  std::vector<std::shared_ptr<Scheduler>> schedulers;
  {
    MutexLock lock(&mutex_);
    for (const Served& served : served_) {
      states.push_back({served.model()->info, 0, 0, absl::ZeroDuration(), served.since});
      schedulers.insert(schedulers.end(), served.replicas.begin(), served.replicas.end());
    }
    for (const Replaced& replaced : replaced_) {
      schedulers.insert(schedulers.end(), replaced.replicas.begin(), replaced.replicas.end());
    }
  }
  for (const auto& scheduler : schedulers) {
    for (State& state : states) {
      if (state.info.name != scheduler->model()->info.name) continue;
      state.sessions += scheduler->open_sessions();
      state.state_bytes += scheduler->state_bytes();
      state.turn_age = std::max(state.turn_age, scheduler->turn_age());
    }
  }
  return states;
}

absl::StatusOr<ServedModels::Choice> ServedModels::Find(const ModelRequest& request) const {
  const std::vector<Served> models = Copy();
  const auto choose = [&request](const Served& served) -> absl::StatusOr<Choice> {
    Choice choice;
    LEAPSTREAM_ASSIGN_OR_RETURN(choice.languages,
                                ChooseLanguages(request, served.model()->info));
    choice.scheduler = LeastBusy(served.replicas);
    return choice;
  };
  if (!request.name.empty()) {
    for (const Served& served : models) {
      if (served.model()->info.name == request.name) return choose(served);
    }
    return WithReason(absl::NotFoundError(absl::StrCat("no model is named ", Quoted(request.name),
                                                       "; there are: ", Names(models))),
                      "MODEL_NOT_FOUND");
  }
  if (models.size() == 1 && models[0].model()->info.is_multilingual()) return choose(models[0]);
  const bool whole_pair = !request.source_language.empty() && !request.target_language.empty();
  // Models that are nearest to the request in what counts most: the kind of source, then being of
  // just the pair that is asked for.
  std::vector<Served> fitting;
  std::pair<bool, bool> nearest;
  for (const Served& served : models) {
    const ModelInfo& info = served.model()->info;
    // A language model is never meant, unless it is all there is; the session then says why not.
    if (!info.translates && models.size() > 1) continue;
    if (!ChooseLanguages(request, info).ok()) continue;
    const std::pair<bool, bool> near = {info.speech.has_value() == request.speech,
                                        whole_pair && !info.is_multilingual()};
    if (!fitting.empty() && near < nearest) continue;
    if (near > nearest) fitting.clear();
    nearest = near;
    fitting.push_back(served);
  }
  const std::string pair = PairText(request.source_language, request.target_language);
  if (fitting.empty()) {
    std::string message =
        absl::StrCat("no model translates ", pair, "; there are: ", Names(models));
    for (const Served& served : models) {  // The first of many languages names the nearest ones.
      const ModelInfo& info = served.model()->info;
      if (!info.is_multilingual()) continue;
      absl::StrAppend(&message, "; ", ChooseLanguages(request, info).status().message());
      break;
    }
    return WithReason(absl::NotFoundError(message), "MODEL_NOT_FOUND");
  }
  if (fitting.size() > 1) {
    return InvalidRequest("MODEL_AMBIGUOUS", absl::StrCat("several models translate ", pair,
                                                          "; name one of: ", Names(fitting)));
  }
  return choose(fitting.front());
}

void ServedModels::CallStarted() {
  MutexLock lock(&mutex_);
  ++calls_;
}

void ServedModels::CallEnded() {
  MutexLock lock(&mutex_);
  --calls_;
  call_ended_.NotifyOne();
}

}  // namespace leapstream
