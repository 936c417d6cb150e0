#include "client/evaluation/latency_unit.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

std::string PrimarySubtag(absl::string_view language) {
  return absl::AsciiStrToLower(language.substr(0, language.find_first_of("-_")));
}

}  // namespace

const char* LatencyUnitName(LatencyUnit unit) {
  switch (unit) {
    case LatencyUnit::kChar:
      return "char";
    case LatencyUnit::kSpm:
      return "spm";
    case LatencyUnit::kWord:
      break;
  }
  return "word";
}

std::optional<LatencyUnit> LatencyUnitOf(absl::string_view name) {
  for (const LatencyUnit unit : {LatencyUnit::kWord, LatencyUnit::kChar, LatencyUnit::kSpm}) {
    if (name == LatencyUnitName(unit)) return unit;
  }
  return std::nullopt;
}

bool IsChinese(absl::string_view language) {
  static constexpr absl::string_view kLanguages[] = {"zh",  "zho", "chi", "cmn", "yue",
                                                     "wuu", "hak", "gan", "lzh"};
  return absl::c_linear_search(kLanguages, PrimarySubtag(language));
}

bool IsWrittenWithoutSpaces(absl::string_view language) {
  static constexpr absl::string_view kLanguages[] = {
      "ja", "jpn", "th", "tha", "lo", "lao", "my", "mya", "bur", "km", "khm", "bo", "bod", "tib",
      "dz", "dzo", "shn", "nod", "tdd", "khb", "ii", "iii"};
  return IsChinese(language) || absl::c_linear_search(kLanguages, PrimarySubtag(language));
}

TargetScoring ChooseScoring(const TargetScoring& asked, absl::Span<const std::string> references) {
  const bool without_spaces = metrics::AreWrittenWithoutSpaces(references);
  const auto tokenizer = metrics::AreChinese(references) ? metrics::BleuTokenizer::kZh
                                                         : metrics::BleuTokenizer::kChar;
  TargetScoring chosen = asked;
  if (!chosen.unit) chosen.unit = without_spaces ? LatencyUnit::kChar : LatencyUnit::kWord;
  if (!chosen.tokenizer) {
    chosen.tokenizer = without_spaces ? tokenizer : metrics::BleuTokenizer::k13a;
  }
  return chosen;
}

std::string ScoringNote(const TargetScoring& asked, const TargetScoring& chosen,
                        absl::Span<const std::string> references) {
  const bool without_spaces = metrics::AreWrittenWithoutSpaces(references);
  if (!without_spaces && !metrics::HaveAlmostNoSpaces(references)) return "";
  const bool counts_words = *chosen.unit == LatencyUnit::kWord ||
                            *chosen.tokenizer == metrics::BleuTokenizer::k13a ||
                            *chosen.tokenizer == metrics::BleuTokenizer::kIntl ||
                            *chosen.tokenizer == metrics::BleuTokenizer::kNone;
  const std::string used = absl::StrCat("--eval-latency-unit ", LatencyUnitName(*chosen.unit),
                                        " --sacrebleu-tokenizer ",
                                        metrics::BleuTokenizerName(*chosen.tokenizer));
  if (counts_words) {
    return absl::StrCat("the references have almost no spaces, and a word is all between two: ",
                        used, " scores whole sentences as words; use char for both, or zh");
  }
  if (asked.unit && asked.tokenizer) return "";
  return absl::StrCat("the references are written without spaces, so they are scored with ", used);
}

}  // namespace leapstream::client
