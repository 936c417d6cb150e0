#ifndef LEAPSTREAM_STREAMING_TERM_FINDER_H_
#define LEAPSTREAM_STREAMING_TERM_FINDER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "streaming/glossary.h"
#include "streaming/markup.h"
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
  int word = 0;               // The source words before it, for a tag. See SourceWord::unspaced:
                              // there each token is a word.
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
  // mark-up is found. Mark-up that is found is charged as text that is tokenised.
  void Append(const SourceWord& word, int first, int64_t* work);
  // The terms that were found since the last call, in the order of their ends.
  std::vector<FoundTerm> Take() { return std::exchange(found_, {}); }

 private:
  struct Atom {
    size_t folded = 0;  // Where it begins in folded_ and in text_.
    size_t text = 0;
  };
  // A text within which nothing that is found depends on the text around it.
  struct Piece {
    absl::string_view text;
    std::string before;        // The character before it in its word.
    int first = 0;             // The segment's tokens before it.
    std::vector<size_t> ends;  // The places of the text at which its tokens end.
    int ready_at = 0;          // FoundTerm::ready_at of all of it; 0: `ends` says.
    int words = 0;             // The segment's words before it.
    bool unspaced = false;
  };
  void BeginUnspaced(int first);
  void AppendUnspaced(const SourceWord& word, int first, int64_t* work);
  void Find(const Piece& piece, int64_t* work);
  void AddAtom(absl::string_view folded, absl::string_view text);
  // Finds the longest term that ends with the newest atom, at `end` of the piece.
  void FindTerm(const Piece& piece, size_t end);
  void AddMarkup(const Piece& piece, const MarkupSpan& span, int begin, int end, int64_t* work);
  // The tokens that have been read once the piece has been up to `end`.
  static int ReadyAt(const Piece& piece, size_t end);
  void ForgetOld();

  const std::shared_ptr<const Glossary> glossary_;
  const bool markup_;
  // The newest atoms of the segment.
  std::vector<Atom> atoms_;
  std::string folded_, text_;
  int count_ = 0;  // Of all atoms of the segment.
  int words_ = 0;
  // In the segment: the terms, the mark-up, and its bytes.
  int terms_found_ = 0;
  int markup_found_ = 0;
  size_t markup_bytes_ = 0;
  // The unspaced word that has begun: its text that was not looked at, and where tokens end in it.
  std::string rest_;
  std::vector<size_t> ends_;
  int first_ = 0;          // The segment's tokens before these.
  size_t known_ = 0;       // What had to be known of it for what was found: see SettledPlace.
  std::string character_;  // The character before the rest; empty: the word begins there.
  std::vector<FoundTerm> found_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TERM_FINDER_H_
