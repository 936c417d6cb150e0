#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_TOKENIZER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leapstream {

// The part of a text that a MosesTokenizer still needs: the words that the next word's tokens may
// depend on, but of a long run of words in apostrophes or commas the last ones alone. A value; a
// new one is at the text's start.
struct MosesContext {
  std::vector<std::u32string> words;  // Without control characters. The last ones may be held.
  size_t given = 0;                   // The number of first words whose tokens were returned.
};

// The Moses tokeniser as sacremoses 0.1.1 has it, which fairseq uses (--tokenizer moses);
// docs/models.md says where it differs from Moses' own script. Knows nothing of BPE. Immutable and
// thread-safe.
//
// The tokens of a word depend on the words before it, since an apostrophe or a comma may use up the
// space beside it, and on the first character of the next word if the word ends in "." or, in
// English, French and Italian, in an apostrophe. All other words are final when they are complete.
class MosesTokenizer {
 public:
  using Tokens = std::vector<std::string>;

  struct Options {
    std::string language;     // Such as "de"; it decides about apostrophes and ideographs.
    bool dash_splits = true;  // A hyphen between two letters becomes the token @-@.
    bool escape = true;       // Characters such as & and ' become entities: &amp; &apos;
  };
  // `prefixes` is the text of Moses' nonbreaking_prefix.XX, one word in each line; a word before
  // #NUMERIC_ONLY# keeps its full stop before numbers only. It may be empty. INVALID_ARGUMENT: it
  // is not UTF-8; `name` is its name in the message.
  static absl::StatusOr<MosesTokenizer> Create(Options options, absl::string_view prefixes,
                                               absl::string_view name);

  // The tokens of a whole text (UTF-8), for each of its words between white space.
  std::vector<Tokens> Tokenize(absl::string_view text) const;

  // Takes the next word of a text. Appends to *ready, in order, the tokens of each word that are
  // final now: see above. A word that waits for the next one is final after 16 words of control
  // characters, too.
  void AppendWord(absl::string_view word, MosesContext* context, std::vector<Tokens>* ready) const;
  // Takes the beginning of the next word, which may come again, longer or whole.
  void Peek(absl::string_view beginning, MosesContext* context, std::vector<Tokens>* ready) const;
  // Ends the text: the tokens of all words are final.
  void Finish(MosesContext* context, std::vector<Tokens>* ready) const;

 private:
  struct Character;  // A character of a line, and the number of its word.
  using Line = std::vector<Character>;
  struct Token;

  bool IsAlphabetic(char32_t c) const;
  bool IsAlphanumeric(char32_t c) const;
  bool WaitsForNext(const std::u32string& word) const;
  bool KeepsDot(std::u32string_view stem, const Token* next) const;
  // The steps of Tokenize(), in order.
  Line Separate(const Line& line) const;
  Line SplitDashes(const Line& line) const;
  static Line GroupDots(const Line& line);
  static Line SplitCommas(const Line& line);
  Line SplitApostrophes(const Line& line) const;
  std::vector<Token> SplitDots(const Line& line) const;
  std::string Escape(std::u32string_view token) const;
  std::vector<Tokens> TokenizeWords(absl::Span<const std::u32string> words) const;
  // Appends to *ready the tokens of the words that were not given. `next`: the character that the
  // text goes on with after these words; 0 if it ends there.
  void Give(char32_t next, MosesContext* context, std::vector<Tokens>* ready) const;

  Options options_;
  bool splits_before_apostrophe_ = false;  // English: it's -> it 's
  bool splits_after_apostrophe_ = false;   // French and Italian: l'eau -> l' eau
  absl::flat_hash_set<std::u32string> prefixes_;
  absl::flat_hash_set<std::u32string> numeric_prefixes_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_MOSES_TOKENIZER_H_
