#ifndef LEAPSTREAM_METRICS_BLEU_H_
#define LEAPSTREAM_METRICS_BLEU_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leapstream::metrics {

// sacreBLEU's tokenizers that need no dictionary and no model.
enum class BleuTokenizer { k13a, kZh, kChar, kIntl, kNone };

// sacreBLEU's names of the tokenizers: "13a", "zh", "char", "intl" and "none"; nullopt: `name` is
// none of these.
const char* BleuTokenizerName(BleuTokenizer tokenizer);
std::optional<BleuTokenizer> BleuTokenizerOf(absl::string_view name);

// sacreBLEU 2's signature of the computation below, with the version that its tests compare with:
// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0".
std::string BleuSignature(BleuTokenizer tokenizer);

// The BLEU score (Papineni et al. 2002) of a corpus, with n-grams of order 1 to 4.
struct BleuScore {
  BleuTokenizer tokenizer = BleuTokenizer::k13a;
  double score = 0;                    // In [0, 100].
  std::array<double, 4> precisions{};  // In percent, smoothed.
  double brevity_penalty = 0;
  int64_t translation_length = 0;  // In tokens.
  int64_t reference_length = 0;

  // Returns the score as sacreBLEU prints it:
  // "BLEU|nrefs:1|… = 19.35 51.9/… (BP = … ratio = … hyp_len = … …)".
  std::string ToString() const;
};

// BLEU as sacreBLEU computes it by default, except for the tokenizer: one reference, case matters,
// smoothing "exp" (the n-th precision without a match counts as half of the previous one without a
// match). `translations` and `references` have one length; they are UTF-8 and not tokenised.
BleuScore Bleu(absl::Span<const std::string> translations, absl::Span<const std::string> references,
               BleuTokenizer tokenizer = BleuTokenizer::k13a);

// The tokens of a line by sacreBLEU's rules, with white space between them.
std::string Tokenize(BleuTokenizer tokenizer, absl::string_view text);

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_BLEU_H_
