#include "server/model_reloader.h"

#include <spdlog/spdlog.h>

#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {

absl::StatusOr<std::vector<ReloadedModel>> ModelReloader::Reload(const std::string& name) {
  if (hooks_.load == nullptr) {
    return absl::UnimplementedError("this server's models come from nowhere, so they stay");
  }
  MutexLock lock(&mutex_);
  std::vector<ReloadedModel> reloaded;
  bool found = false;
  for (const auto& served : serving_->models->All()) {
    const ModelInfo& old = served->info;
    if (!name.empty() && old.name != name) continue;
    found = true;
    LEAPSTREAM_ASSIGN_OR_RETURN(ReloadedModel model, ReloadOne(old));
    reloaded.push_back(std::move(model));
  }
  if (!found) {
    return WithReason(absl::NotFoundError(absl::StrCat("no model is named ", Quoted(name))),
                      "MODEL_NOT_FOUND");
  }
  return reloaded;
}

absl::StatusOr<std::vector<GlossaryTerm>> ModelReloader::TermsOf(const std::string& model) const {
  const auto file = serving_->options.glossary_files.find(model);
  if (file == serving_->options.glossary_files.end()) return std::vector<GlossaryTerm>();
  return ReadGlossary(file->second);
}

absl::StatusOr<ReloadedModel> ModelReloader::ReloadOne(const ModelInfo& old) {
  absl::StatusOr<std::shared_ptr<const Model>> model =
      hooks_.load(old.name, serving_->models->Loaded(old.name));
  absl::Status status = model.status();
  if (status.ok() && (*model)->info.name != old.name) {
    status = absl::FailedPreconditionError(absl::StrCat(
        "its name is now ", Quoted((*model)->info.name), "; a reload must keep the name"));
  }
  absl::StatusOr<std::vector<GlossaryTerm>> terms = TermsOf(old.name);
  if (status.ok()) status = terms.status();
  ReloadedModel reloaded;
  bool loaded = true, changed = true;
  if (status.ok()) {
    reloaded = {old.name, old.checksum, (*model)->info.checksum};
    loaded = !absl::c_linear_search(serving_->models->Loaded(old.name), *model);
    changed = !serving_->models->Serves(**model, *terms);
  }
  if (status.ok() && loaded) {
    status = ReserveStates(**model, 0, serving_->admission.max_sessions());
  }
  if (status.ok() && changed) {
    try {
      status = serving_->models->Replace(*std::move(model), *terms);
    } catch (const std::system_error& error) {  // std::thread throws it.
      status = absl::ResourceExhaustedError(
          absl::StrCat("the machine gives no thread to step it: ", error.what()));
    }
  }
  serving_->metrics->ModelReloaded(old.name, status.ok());
  if (!status.ok()) {
    spdlog::error("model {} was not reloaded and serves on as it was: {}", old.name,
                  std::string(status.message()));
    return WithReason(absl::FailedPreconditionError(absl::StrCat("model ", old.name,
                                                                 " was not reloaded and "
                                                                 "serves on as it was: ",
                                                                 status.message())),
                      "RELOAD_FAILED");
  }
  if (!changed) {
    spdlog::info("model {} is as it was, {}: nothing was loaded", old.name, old.checksum);
    return reloaded;
  }
  if (!loaded && reloaded.new_checksum == old.checksum) {
    spdlog::info("model {} is as it was, {}, and has a glossary of {} terms now", old.name,
                 old.checksum, terms->size());
    return reloaded;
  }
  spdlog::info("model {} was reloaded: {} is now {}", old.name, old.checksum,
               reloaded.new_checksum);
  return reloaded;
}

}  // namespace leapstream
