#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALISER_RULES_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALISER_RULES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The rules by which a SentencePiece model replaces characters (its precompiled_charsmap): a double
// array of darts-clone, whose first four bytes are its size, and then the texts that it points to.
// Immutable and thread-safe.
class NormaliserRules {
 public:
  // Whether every look-up in `map` stays within it, for any text. SentencePiece follows the array's
  // offsets without a check.
  static bool IsSafe(absl::string_view map);

  NormaliserRules() = default;  // There are no rules.
  explicit NormaliserRules(absl::string_view map);  // REQUIRES: IsSafe(map).

  // Whether some rule replaces a longer text that begins with all of `text`.
  bool GoesOn(absl::string_view text) const;

 private:
  uint32_t Unit(size_t at) const;
  std::string units_;  // The double array.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALISER_RULES_H_
