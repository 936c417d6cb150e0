#include "client/cli/offline_warning.h"

#include "absl/strings/str_cat.h"

namespace leapstream::client {

std::string OfflineWarning(const std::vector<Model>& models, absl::string_view name) {
  if (name.empty() && models.size() != 1) return "";
  for (const Model& model : models) {
    if (!name.empty() && model.name != name) continue;
    if (!model.learned_policy && model.default_k == 0) return "";
    const std::string trained =
        model.learned_policy ? "by its own policy" : absl::StrCat("with k = ", model.default_k);
    return absl::StrCat("model ", model.name, " was trained to write while it reads, ", trained,
                        ", and may translate badly with --offline; leave it out for the model's "
                        "own way");
  }
  return "";
}

}  // namespace leapstream::client
