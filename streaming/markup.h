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

// A word without its tags.
std::string WithoutTags(absl::string_view word);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_MARKUP_H_
