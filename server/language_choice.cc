#include "server/language_choice.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/languages.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr size_t kNamed = 4;  // The most codes that a message names.

absl::string_view PrimarySubtag(absl::string_view language) {
  return language.substr(0, language.find_first_of("-_"));
}

// Whether a model of one pair, whose language is `model`, can serve a request for `wanted`.
bool Fits(const std::string& wanted, const std::string& model) {
  return wanted.empty() || absl::EqualsIgnoreCase(PrimarySubtag(wanted), PrimarySubtag(model)) ||
         !MatchLanguage(wanted, {model}).empty();
}

// One side of a request, and of a model that translates many pairs.
struct Side {
  const char* field;  // The name of the request's field.
  const char* preposition;
  const std::string& asked;
  const std::string& first;  // The model's default.
  const std::vector<std::string>& codes;
};

absl::StatusOr<std::string> Choose(const Side& side, const ModelInfo& model) {
  const auto error = [&](absl::string_view what, const std::vector<std::string>& named) {
    return InvalidRequest(
        "LANGUAGE_MISMATCH",
        absl::StrCat("model ", model.name, " translates ", side.preposition, " ",
                     side.codes.size(), " languages, ", what, absl::StrJoin(named, ", "),
                     "; ListModels has all"));
  };
  if (side.asked.empty()) {
    if (!side.first.empty()) return side.first;
    const size_t some = std::min(kNamed, side.codes.size());
    return error(absl::StrCat("so that ", side.field, " must name one, such as "),
                 {side.codes.begin(), side.codes.begin() + static_cast<ptrdiff_t>(some)});
  }
  const std::vector<size_t> found = MatchLanguage(side.asked, side.codes);
  if (found.size() == 1) return side.codes[found[0]];
  if (found.empty()) {
    return error(absl::StrCat("not ", Quoted(side.asked), "; the nearest ",
                              side.codes.size() == 1 ? "is " : "are "),
                 NearestLanguages(side.asked, side.codes, kNamed));
  }
  std::vector<std::string> meant;
  for (size_t i = 0; i < std::min(kNamed, found.size()); ++i) {
    meant.push_back(side.codes[found[i]]);
  }
  return error(absl::StrCat("and ", Quoted(side.asked), " does not say which of "), meant);
}

}  // namespace

absl::StatusOr<LanguagePair> ChooseLanguages(const ModelRequest& request, const ModelInfo& model) {
  if (!model.is_multilingual()) {
    if (Fits(request.source_language, model.source_language) &&
        Fits(request.target_language, model.target_language)) {
      return LanguagePair{model.source_language, model.target_language};
    }
    return InvalidRequest(
        "LANGUAGE_MISMATCH",
        absl::StrCat("model ", model.name, " translates ",
                     PairText(model.source_language, model.target_language), ", not ",
                     PairText(request.source_language, request.target_language)));
  }
  LanguagePair pair;
  LEAPSTREAM_ASSIGN_OR_RETURN(pair.source,
                              Choose({"source_language_code", "from", request.source_language,
                                      model.source_language, model.source_languages},
                                     model));
  LEAPSTREAM_ASSIGN_OR_RETURN(pair.target,
                              Choose({"target_language_code", "to", request.target_language,
                                      model.target_language, model.target_languages},
                                     model));
  return pair;
}

std::string PairText(absl::string_view source, absl::string_view target) {
  return absl::StrCat(source.empty() ? "(any)" : Quoted(source), " to ",
                      target.empty() ? "(any)" : Quoted(target));
}

}  // namespace leapstream
