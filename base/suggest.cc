#include "base/suggest.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace leapstream {
namespace {

// The number of insertions, deletions and replacements that turn `a` into `b` (Levenshtein 1966).
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::string> Nearest(absl::string_view name, const std::vector<std::string>& names) {
  const auto nearest = std::min_element(
      names.begin(), names.end(),
      [&](const auto& a, const auto& b) { return EditDistance(name, a) < EditDistance(name, b); });
  if (nearest == names.end()) return std::nullopt;
  if (EditDistance(name, *nearest) > std::max<size_t>(2, nearest->size() / 3)) return std::nullopt;
  return *nearest;
}

std::string Suggest(absl::string_view name, const std::vector<std::string>& names) {
  const std::optional<std::string> nearest = Nearest(name, names);
  if (nearest.has_value()) return absl::StrCat("; is ", *nearest, " meant?");
  return absl::StrCat("; there are: ", absl::StrJoin(names, ", "));
}

}  // namespace leapstream
