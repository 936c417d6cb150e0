#ifndef LEAPSTREAM_SERVER_LANGUAGE_CHOICE_H_
#define LEAPSTREAM_SERVER_LANGUAGE_CHOICE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model.h"

namespace leapstream {

struct ModelRequest {
  std::string name;  // Each of these may be empty.
  std::string source_language;
  std::string target_language;
  bool speech = false;  // The source will be audio.
};

// The pair of a session of `model` that asks for these languages: see MatchLanguage(). A language
// that the request does not name is the model's default. For a model of one pair "de" also fits
// "de-AT". INVALID_ARGUMENT, LANGUAGE_MISMATCH: the model does not translate this pair, or the
// request does not say which of its languages is meant. The message names the nearest codes.
absl::StatusOr<LanguagePair> ChooseLanguages(const ModelRequest& request, const ModelInfo& model);

// The languages of a request for messages, such as `"en" to (any)`.
std::string PairText(absl::string_view source, absl::string_view target);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LANGUAGE_CHOICE_H_
