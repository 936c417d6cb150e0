#include "model/api/languages.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "model/api/language_table.h"

namespace leapstream {
namespace {

constexpr size_t kMaxCode = 64;  // The bytes of the longest code in a model.json.

std::string Normal(absl::string_view code) {
  std::string normal = absl::AsciiStrToLower(code.substr(0, kMaxCode + 1));
  std::replace(normal.begin(), normal.end(), '-', '_');
  return normal;
}

const LanguageNames* Names(absl::string_view language) {
  if (language.empty()) return nullptr;
  for (const LanguageNames& names : kLanguageNames) {
    if (language == names.iso639_1 || language == names.iso639_3) return &names;
    for (const absl::string_view alias : absl::StrSplit(names.aliases, ' ')) {
      if (language == alias) return &names;
    }
  }
  return nullptr;
}

// A code, understood. All letters are lower-case.
struct Tag {
  std::string language;  // ISO 639-3 where kLanguageNames has it.
  std::string script;    // Empty: neither the code nor its region says one.
  std::string region;    // Empty also for mBART's XX.
  std::string usual_script;  // The language's; empty: it is not known.
};

bool AllLetters(absl::string_view text) { return absl::c_all_of(text, absl::ascii_isalpha); }

// The script that a region implies, where a language is written in several.
std::string ScriptOf(absl::string_view language, absl::string_view region) {
  if (language == "zho") {
    if (region == "cn" || region == "sg" || region == "my") return "hans";
    if (region == "tw" || region == "hk" || region == "mo") return "hant";
  }
  if (language == "pan" && region == "pk") return "arab";
  return "";
}

Tag Understand(absl::string_view code) {
  Tag tag;
  const std::string normal = Normal(code);
  const std::vector<absl::string_view> parts = absl::StrSplit(normal, '_');
  tag.language = std::string(parts[0]);
  size_t next = 1;
  // BCP-47's extended language, as in zh-yue, is the language.
  if (next < parts.size() && parts[next].size() == 3 && AllLetters(parts[next])) {
    tag.language = std::string(parts[next++]);
  }
  if (const LanguageNames* const names = Names(tag.language); names != nullptr) {
    tag.language = names->iso639_3;
    tag.usual_script = absl::AsciiStrToLower(names->script);
  }
  if (next < parts.size() && parts[next].size() == 4 && AllLetters(parts[next])) {
    tag.script = std::string(parts[next++]);
  }
  if (next < parts.size() && parts[next] != "xx" &&
      (parts[next].size() == 2 || parts[next].size() == 3)) {
    tag.region = std::string(parts[next]);
  }
  if (tag.script.empty()) tag.script = ScriptOf(tag.language, tag.region);
  return tag;
}

struct Candidate {
  size_t place;
  Tag tag;
};

// Keeps the candidates for which `fits` is true, unless there are none.
template <typename Fits>
void Prefer(const Fits& fits, std::vector<Candidate>* candidates) {
  if (candidates->size() < 2 || absl::c_none_of(*candidates, fits)) return;
  candidates->erase(
      std::remove_if(candidates->begin(), candidates->end(),
                     [&fits](const Candidate& candidate) { return !fits(candidate); }),
      candidates->end());
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({change, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<size_t> MatchLanguage(absl::string_view asked, absl::Span<const std::string> codes) {
  if (asked.empty() || asked.size() > kMaxCode) return {};
  const auto exact = absl::c_find(codes, asked);
  if (exact != codes.end()) return {static_cast<size_t>(exact - codes.begin())};
  const std::string normal = Normal(asked);
  std::vector<size_t> same;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (Normal(codes[i]) == normal) same.push_back(i);
  }
  if (!same.empty()) return same;
  const Tag wanted = Understand(asked);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < codes.size(); ++i) {
    Tag tag = Understand(codes[i]);
    if (tag.language != wanted.language) continue;
    if (!wanted.script.empty() && !tag.script.empty() && tag.script != wanted.script) continue;
    candidates.push_back({i, std::move(tag)});
  }
  const std::string& script = wanted.script.empty() ? wanted.usual_script : wanted.script;
  Prefer([&](const Candidate& one) { return one.tag.script == script; }, &candidates);
  Prefer([&](const Candidate& one) { return one.tag.script.empty(); }, &candidates);
  Prefer([&](const Candidate& one) { return one.tag.region == wanted.region; }, &candidates);
  Prefer([](const Candidate& one) { return one.tag.region.empty(); }, &candidates);
  std::vector<size_t> places;
  for (const Candidate& candidate : candidates) places.push_back(candidate.place);
  return places;
}

std::vector<std::string> NearestLanguages(absl::string_view asked,
                                          absl::Span<const std::string> codes, size_t count) {
  const std::string normal = Normal(asked);
  const Tag wanted = Understand(asked);
  std::vector<std::pair<size_t, size_t>> ranked;  // The distance, and the place in `codes`.
  for (size_t i = 0; i < codes.size(); ++i) {
    const std::string code = Normal(codes[i]);
    const Tag tag = Understand(code);
    size_t distance = 0;  // Another script of the same language is the nearest.
    if (tag.language != wanted.language) {
      distance = std::min({EditDistance(normal, code),
                           EditDistance(normal, code.substr(0, code.find('_'))),
                           EditDistance(wanted.language, tag.language)});
    }
    ranked.emplace_back(distance, i);
  }
  absl::c_sort(ranked);
  std::vector<std::string> nearest;
  for (size_t i = 0; i < std::min(count, ranked.size()); ++i) {
    nearest.push_back(codes[ranked[i].second]);
  }
  return nearest;
}

}  // namespace leapstream
