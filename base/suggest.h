#ifndef LEAPSTREAM_BASE_SUGGEST_H_
#define LEAPSTREAM_BASE_SUGGEST_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream {

// The one of `names` that somebody who wrote `name` may have meant; nullopt: none is near.
std::optional<std::string> Nearest(absl::string_view name, const std::vector<std::string>& names);

// Returns "; is NAME meant?" if one of `names`, of which there is one at least, is near to `name`,
// or else a list of all of them.
std::string Suggest(absl::string_view name, const std::vector<std::string>& names);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SUGGEST_H_
