#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_PUNCTUATION_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_PUNCTUATION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The normalisation that transformers' FSMTTokenizer does before it tokenises: punctuation of CJK
// and full-width forms becomes ASCII's, then Moses' normalize-punctuation for `language`, then
// control and format characters (category C, but for unassigned ones) are dropped.
//   text: UTF-8. `more`: other text follows after a space; this decides whether a full stop before a
//   closing quotation mark is the sentence's last (de, es, fr).
// Returns text without white space at its ends.
std::string NormalizePunctuation(absl::string_view text, absl::string_view language, bool more);

// Whether normalisation joins a text to the one after it, where a space is between them now: after
// an opening bracket, and before a closing one, colons, semicolons, a per cent sign after a number,
// and punctuation after a closing bracket. Otherwise the two are normalised one by one.
bool JoinsNext(absl::string_view text, absl::string_view next);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_PUNCTUATION_H_
