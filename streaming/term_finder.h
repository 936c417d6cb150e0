#ifndef LEAPSTREAM_STREAMING_TERM_FINDER_H_
#define LEAPSTREAM_STREAMING_TERM_FINDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "streaming/glossary.h"
#include "streaming/word_source.h"

namespace leapstream {

// A term or a piece of mark-up of a segment's source.
struct FoundTerm {
  int entry = Glossary::kNone;  // Of the glossary; kNone: it is mark-up.
  std::string text;             // Of mark-up.
  bool is_tag = false;
  int begin = 0;  // The segment's atoms before it, and with it.
  int end = 0;
  int ready_at = 0;           // The source tokens that have been read once all of it has.
  int word = 0;               // The source words before it, for a tag.
  bool glued_before = false;  // No space stands between it and what is before it; then
  std::string before;         // this character does. Of mark-up only.
  bool glued_behind = false;  // The same of what is behind a tag.
};

// Finds the terms of a glossary, and mark-up, in the words of a segment's source. Finds the same
// however the source is chunked. Used by the step thread only; not thread-safe.
class TermFinder {
 public:
  // `glossary` may be null. `markup`: mark-up is found, too.
  TermFinder(std::shared_ptr<const Glossary> glossary, bool markup)
      : glossary_(std::move(glossary)), markup_(markup) {}

  void Reset();  // Begins a segment.
  // Looks at the next word, or the next part of one, before which the segment has `first` source
  // tokens. Its text is as the client sent it, and its tokens are those of WithoutTags() if
  // mark-up is found.
  void Append(const SourceWord& word, int first, int64_t* work);
  // The terms that were found since the last call, in the order of their ends.
  std::vector<FoundTerm> Take() { return std::exchange(found_, {}); }

 private:
  struct Atom {
    size_t folded = 0;  // Where it begins in folded_ and in text_.
    size_t text = 0;
  };
  void AddAtom(absl::string_view folded, absl::string_view text);
  void FindEndingHere(const SourceWord& word, int first, size_t end, size_t tag_bytes);
  void FindMarkup(const SourceWord& word, int first);
  void ForgetOld();

  const std::shared_ptr<const Glossary> glossary_;
  const bool markup_;
  // The newest atoms of the segment.
  std::vector<Atom> atoms_;
  std::string folded_, text_;
  int count_ = 0;  // Of all atoms of the segment.
  int words_ = 0;
  size_t text_bytes_ = 0;  // Of the newest word, without its tags.
  int all_found_ = 0;      // In the segment.
  std::vector<FoundTerm> found_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TERM_FINDER_H_
