#ifndef LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_
#define LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "metrics/bleu.h"

namespace leapstream::client {

// The target units that lagging is counted in, as SimulEval's --eval-latency-unit: words between
// white space, code points other than U+0020, or the pieces of the server's tokenizer.
enum class LatencyUnit { kWord, kChar, kSpm };

// "word", "char" or "spm"; nothing: `name` is none of these.
const char* LatencyUnitName(LatencyUnit unit);
std::optional<LatencyUnit> LatencyUnitOf(absl::string_view name);

// Whether the language is one that is written without spaces between words, by its BCP-47 or ISO
// 639-3 code: zh, ja, th, lo, my, km and their kin.
bool IsWrittenWithoutSpaces(absl::string_view language);

// Whether it is Chinese in Han characters, by the same.
bool IsChinese(absl::string_view language);

// How a target is scored. What a user has left open follows from how it is written.
struct TargetScoring {
  std::optional<LatencyUnit> unit;
  std::optional<metrics::BleuTokenizer> tokenizer;
};

// What `asked` leaves open, for these references: characters and sacreBLEU's tokenizer zh, or char
// where they are not Chinese, if they are written without spaces; else words and 13a. Both are set.
TargetScoring ChooseScoring(const TargetScoring& asked, absl::Span<const std::string> references);

// What a reader of the scores must know of these references and the choice, one sentence without a
// full stop; empty: nothing.
std::string ScoringNote(const TargetScoring& asked, const TargetScoring& chosen,
                        absl::Span<const std::string> references);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_LATENCY_UNIT_H_
