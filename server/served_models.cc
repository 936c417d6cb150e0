#include "server/served_models.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/quoted.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

absl::string_view PrimarySubtag(absl::string_view language) {
  return language.substr(0, language.find_first_of("-_"));
}

// Whether a model of one language can be used when `wanted` is asked for.
bool Fits(absl::string_view wanted, absl::string_view model) {
  return wanted.empty() || absl::EqualsIgnoreCase(PrimarySubtag(wanted), PrimarySubtag(model));
}

bool Fits(const ModelRequest& request, const ModelInfo& model) {
  return Fits(request.source_language, model.source_language) &&
         Fits(request.target_language, model.target_language);
}

std::string Pair(absl::string_view source, absl::string_view target) {
  return absl::StrCat(source.empty() ? "(any)" : Quoted(source), " to ",
                      target.empty() ? "(any)" : Quoted(target));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedModels>> ServedModels::Create(
    std::vector<std::shared_ptr<const Model>> models) {
  if (models.empty()) return absl::InvalidArgumentError("no model to serve; name one at least");
  std::sort(models.begin(), models.end(),
            [](const auto& a, const auto& b) { return a->info.name < b->info.name; });
  for (size_t i = 1; i < models.size(); ++i) {
    if (models[i]->info.name == models[i - 1]->info.name) {
      return absl::InvalidArgumentError(
          absl::StrCat("two models are named ", models[i]->info.name,
                       "; rename one in its model.json, names are what clients ask for"));
    }
  }
  auto served = absl::WrapUnique(new ServedModels);
  for (auto& model : models) {
    served->schedulers_.push_back(std::make_unique<Scheduler>(std::move(model)));
  }
  return served;
}

ServedModels::~ServedModels() {
  MutexLock lock(&mutex_);
  while (calls_ > 0) call_ended_.Wait(&mutex_);
}

std::string ServedModels::Names() const {
  return absl::StrJoin(schedulers_, ", ", [](std::string* out, const auto& scheduler) {
    out->append(scheduler->model()->info.name);
  });
}

absl::StatusOr<Scheduler*> ServedModels::Find(const ModelRequest& request) const {
  if (!request.name.empty()) {
    for (const auto& scheduler : schedulers_) {
      const ModelInfo& info = scheduler->model()->info;
      if (info.name != request.name) continue;
      if (!Fits(request, info)) {
        return InvalidRequest(
            "LANGUAGE_MISMATCH",
            absl::StrCat("model ", info.name, " translates ",
                         Pair(info.source_language, info.target_language), ", not ",
                         Pair(request.source_language, request.target_language)));
      }
      return scheduler.get();
    }
    return WithReason(absl::NotFoundError(absl::StrCat("no model is named ", Quoted(request.name),
                                                       "; there are: ", Names())),
                      "MODEL_NOT_FOUND");
  }
  std::vector<Scheduler*> fitting;
  for (const auto& scheduler : schedulers_) {
    if (Fits(request, scheduler->model()->info)) fitting.push_back(scheduler.get());
  }
  if (fitting.empty()) {
    return WithReason(
        absl::NotFoundError(absl::StrCat("no model translates ",
                                         Pair(request.source_language, request.target_language),
                                         "; there are: ", Names())),
        "MODEL_NOT_FOUND");
  }
  if (fitting.size() > 1) {
    return InvalidRequest(
        "MODEL_AMBIGUOUS",
        absl::StrCat(
            "several models translate ", Pair(request.source_language, request.target_language),
            "; name one of: ", absl::StrJoin(fitting, ", ", [](std::string* out, Scheduler* s) {
              out->append(s->model()->info.name);
            })));
  }
  return fitting.front();
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
