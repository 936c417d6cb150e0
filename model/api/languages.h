#ifndef LEAPSTREAM_MODEL_API_LANGUAGES_H_
#define LEAPSTREAM_MODEL_API_LANGUAGES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// The codes of languages: those of models, such as "deu_Latn" (NLLB), "de_DE" (mBART) and "de"
// (M2M-100), and BCP-47 tags, such as "de", "de-AT" and "zh-Hans". Case does not matter, and `-` is
// `_`, except between codes of one model that differ in nothing else. These are pure functions.
namespace leapstream {

// A pair of languages, by the model's own codes.
struct LanguagePair {
  std::string source;
  std::string target;

  bool operator==(const LanguagePair& other) const {
    return source == other.source && target == other.target;
  }
};

// The places in `codes` of the codes that `asked` names: one, none, or several if `asked` does not
// say which. A code names itself. Of codes that differ in nothing but case and `-` the one that is
// equal to the letter is named, or else all of them. Otherwise the languages must be the same, in
// ISO 639-1, 639-3 or as the macrolanguage of one of them. Then counts the script, where `asked` has
// one, or its region implies one ("zh-TW"); a code without a script fits each. An `asked` without a
// script means the language's usual one, or the only one that there is. Of several the one with the
// region of `asked` is taken, or else the one without.
std::vector<size_t> MatchLanguage(absl::string_view asked, absl::Span<const std::string> codes);

// The `count` codes that are most alike: by edit distance to the whole code or to its language.
std::vector<std::string> NearestLanguages(absl::string_view asked,
                                          absl::Span<const std::string> codes, size_t count);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_LANGUAGES_H_
