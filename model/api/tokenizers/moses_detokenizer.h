#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_DETOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_DETOKENIZER_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The memory that a MosesDetokenizer has of a text. A value; a new one is at the text's start.
struct MosesTarget {
  std::u32string word;   // The word that is not complete, with its entities.
  std::u32string token;  // The newest token: whole words without entities, joined. Empty: the word
                         // begins it, or there is none.
  bool joined = false;   // The token's last word was @-@, and so the next word belongs to it.
  size_t shown = 0;      // The number of characters of the token and the word that were returned,
                         // with the space before them.
  size_t tokens = 0;     // The number of tokens before it.
  std::u32string last;   // The token before it.
  std::u32string second_last;  // The token before that.
  bool glued = false;    // The last token takes no space after it.
  std::map<std::u32string, int> quotes;  // The number of quotation marks of each kind.
};

// The Moses detokeniser as sacremoses 0.1.1 has it, which fairseq uses (--tokenizer moses), in a
// form that only appends. Czech follows Moses' own script: see docs/models.md. Immutable and
// thread-safe.
//
// A token is a word, or several that @-@ joins. A punctuation or quotation mark that stands at
// another place than a word would waits for the next word, since @-@ may follow and make a word of
// it. Everything else is returned when its word is complete, and a word's beginning as soon as its
// place is certain.
class MosesDetokenizer {
 public:
  explicit MosesDetokenizer(absl::string_view language);  // Such as "de".

  // Takes more text (UTF-8, whole characters), in which white space ends words. Returns the text
  // that nothing later changes.
  std::string Append(absl::string_view text, MosesTarget* target) const;
  // Ends the text, and returns the rest of it.
  std::string Finish(MosesTarget* target) const;

 private:
  // The rules for a token, in the order in which they are tried.
  enum class Rule { kEastAsian, kOpening, kClosing, kClitic, kDecimal, kContraction, kQuote, kWord };
  struct Place {
    Rule rule = Rule::kWord;
    bool space = false;    // A space stands before the token.
    bool certain = false;  // It stands there whatever is joined to it.
    bool opens = false;    // kQuote: an opening quotation mark.
    bool counts = true;    // kQuote: the quotation mark is counted.
  };
  // The place of a token. `whole`: it is complete, but for what @-@ may join to it.
  Place PlaceOf(const std::u32string& token, bool whole, const MosesTarget& target) const;
  Place PlaceOfQuote(const std::u32string& token, const MosesTarget& target) const;
  void EndWord(MosesTarget* target, std::u32string* text) const;  // REQUIRES: there is a word.
  // Appends the beginning of the word that is certain to *text.
  void ShowWord(MosesTarget* target, std::u32string* text) const;
  // Appends to *text the part of `token` that was not shown, if its place is certain or `all`.
  void Show(const std::u32string& token, bool whole, bool all, MosesTarget* target,
            std::u32string* text) const;
  // Completes the token, if there is one. `next`: the first character of the next one, or 0.
  void EndToken(char32_t next, MosesTarget* target, std::u32string* text) const;

  std::string language_;
  bool contracts_ = false;  // French, Italian, Irish: l' eau -> l'eau
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_DETOKENIZER_H_
