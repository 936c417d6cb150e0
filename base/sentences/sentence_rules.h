#ifndef LEAPSTREAM_BASE_SENTENCES_SENTENCE_RULES_H_
#define LEAPSTREAM_BASE_SENTENCES_SENTENCE_RULES_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The rules by which sentences of one language end. English and German have lists of our own, which
// are safe for abbreviations, initials and ordinal numbers: rather two sentences in one segment
// than one in two. All other languages have ICU's rules and its lists of abbreviations, but for
// single letters and for numbers of one or two digits, after which no sentence ends. All text is
// UTF-8; bytes that are not are characters that no rule knows. Not thread-safe.
class SentenceRules {
 public:
  // `language`: BCP-47, or a model's own code, such as deu_Latn. Empty: the lists are used.
  explicit SentenceRules(absl::string_view language = "");
  ~SentenceRules();
  SentenceRules(SentenceRules&&) noexcept;
  SentenceRules& operator=(SentenceRules&&) noexcept;

  // Whether a sentence ends between `word` and `next`, words of running text; `previous` is the
  // word before them in the same sentence, "" if there is none. If `next` is not whole, it is the
  // beginning of a word, and nullopt says that more of it is needed.
  // With the lists: after one letter ("Plan B."), a number of one or two digits, "U.S.", "Inc." and
  // their like, a sentence ends only if `next` is one of a few English words that begin sentences,
  // such as "The" and "Then". Full stops and question marks of other scripts are known.
  std::optional<bool> EndsBetween(absl::string_view previous, absl::string_view word,
                                  absl::string_view next, bool next_is_whole);

 private:
  class Iterator;

  std::optional<bool> AsksIterator(absl::string_view previous, absl::string_view word,
                                   absl::string_view next, bool next_is_whole);

  std::string language_;                // ICU's code; empty: the lists are used.
  std::unique_ptr<Iterator> iterator_;  // Made when it is needed.
};

// The next three are of marks within a word, which may be a whole text where no spaces are written.

// Whether a sentence may follow such a mark without a space: full stops and question marks of other
// scripts. `before`: the character before it; "?" and "!" are such marks after a character of a
// script without spaces.
bool EndsWithoutSpace(char32_t mark, char32_t before);
// Whether `mark` is part of the end of a sentence that such a mark has begun: another mark, or one
// that closes.
bool BelongsToEnd(char32_t mark);
// Whether a sentence that is too long is best cut after `mark`.
bool EndsClause(char32_t mark);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SENTENCES_SENTENCE_RULES_H_
