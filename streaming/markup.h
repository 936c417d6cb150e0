#ifndef LEAPSTREAM_STREAMING_MARKUP_H_
#define LEAPSTREAM_STREAMING_MARKUP_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream {

// A part of a word that stands in the translation as it is.
struct MarkupSpan {
  enum class Kind {
    kTag,     // <b>, </b>, <br/>, without white space in it. The model does not read it.
    kValue,   // A placeholder such as {name}, %s or ${home}; a URL, an e-mail address, an entity.
    kNumber,  // Digits with separators between them.
  };
  size_t begin = 0;  // The first byte, and the one behind the last.
  size_t end = 0;
  Kind kind = Kind::kValue;
};

// The mark-up of a word (UTF-8), in order. Spans do not overlap.
std::vector<MarkupSpan> MarkupOf(absl::string_view word);

// The end of the first character of a script without spaces that is outside of mark-up: no mark-up
// and no word goes on there. `markup`: some is looked for.
struct SettledPlace {
  size_t end = 0;    // 0: there is none, or more text may put the character into mark-up.
  size_t known = 0;  // The bytes of the text that must be known to tell.
};
SettledPlace NextSettledPlace(absl::string_view text, bool markup);

// The character of `text` that ends at `end`.
absl::string_view CharacterBefore(absl::string_view text, size_t end);

// The tags of a word, and the word without them.
std::vector<MarkupSpan> TagsOf(absl::string_view word);
std::string WithoutTags(absl::string_view word);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_MARKUP_H_
