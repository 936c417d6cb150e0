#ifndef LEAPSTREAM_SERVER_MODEL_RELOADER_H_
#define LEAPSTREAM_SERVER_MODEL_RELOADER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/glossary_text.h"
#include "base/mutex.h"
#include "server/server.h"
#include "server/serving.h"

namespace leapstream {

// Loads models anew, one reload at a time. Thread-safe; blocks for as long as loading takes.
class ModelReloader {
 public:
  // `serving` must outlive this.
  ModelReloader(Serving* serving, ServerHooks hooks)
      : serving_(serving), hooks_(std::move(hooks)) {}

  // Reloads the model of this name, or all models if the name is empty. NOT_FOUND: there is no such
  // model. FAILED_PRECONDITION: a model could not be loaded or does not translate; it serves on as
  // it was, and the models after it were not tried. UNIMPLEMENTED: `hooks.load` is null.
  absl::StatusOr<std::vector<ReloadedModel>> Reload(const std::string& name);

 private:
  // The terms of the model's glossary, as its file is now; none: it has no file.
  absl::StatusOr<std::vector<GlossaryTerm>> TermsOf(const std::string& model) const;
  absl::StatusOr<ReloadedModel> ReloadOne(const ModelInfo& old);

  Serving* const serving_;
  const ServerHooks hooks_;
  Mutex mutex_;  // Held while models are loaded: two loads at once might not fit into memory.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_MODEL_RELOADER_H_
