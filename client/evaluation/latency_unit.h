#ifndef LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_
#define LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "metrics/bleu.h"

namespace leapstream::client {

// The target units in which lagging is counted, as in SimulEval's --eval-latency-unit: words
// between white space, code points other than U+0020, or the pieces of the server's tokenizer.
enum class LatencyUnit { kWord, kChar, kSpm };

// The names are "word", "char" and "spm"; nullopt: `name` is none of these.
const char* LatencyUnitName(LatencyUnit unit);
std::optional<LatencyUnit> LatencyUnitOf(absl::string_view name);

// Whether the language is written without spaces between words, by its BCP-47 or ISO 639-3 code:
// zh, ja, th, lo, my, km and their kin.
bool IsWrittenWithoutSpaces(absl::string_view language);

// Whether the language, by such a code, is Chinese in Han characters.
bool IsChinese(absl::string_view language);

// The way to score a target. Members that a user has left open follow from the references.
struct TargetScoring {
  std::optional<LatencyUnit> unit;
  std::optional<metrics::BleuTokenizer> tokenizer;
};

// Fills in the members that `asked` leaves open. For references without spaces these are characters
// and sacreBLEU's tokenizer zh, or char if they are not Chinese; for others words and 13a. Both
// members of the result are set.
TargetScoring ChooseScoring(const TargetScoring& asked, absl::Span<const std::string> references);

// A note about these references and the choice that a reader of the scores needs: one sentence
// without a full stop; "": none.
std::string ScoringNote(const TargetScoring& asked, const TargetScoring& chosen,
                        absl::Span<const std::string> references);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_
