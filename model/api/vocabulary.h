#ifndef LEAPSTREAM_MODEL_API_VOCABULARY_H_
#define LEAPSTREAM_MODEL_API_VOCABULARY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/translator.h"

namespace leapstream {

// The four symbols that every fairseq dictionary starts with and no dictionary file holds.
inline constexpr TokenId kBeginOfSentence = 0;  // <s>
inline constexpr TokenId kPadding = 1;          // <pad>
inline constexpr TokenId kEndOfSentence = 2;    // </s>
inline constexpr TokenId kUnknown = 3;          // <unk>

// A fairseq dictionary: symbols (SentencePiece surface pieces) and their ids. Immutable,
// thread-safe. A copy shares the symbols. Reading one of 256,000 symbols takes some 20 ms.
class Vocabulary {
 public:
  Vocabulary();  // Has no symbols at all, as the source side of a model of speech.

  // Reads `dict.XX.txt` (fairseq/data/dictionary.py). Each line is `symbol count`: white space of
  // all scripts is stripped from its end, and it is split at the last space. The count is a number
  // that Python's int() takes. Line n (from 0) has id n + 4. A repeated symbol needs
  // `#fairseq:overwrite` after its count. An empty file gives the special symbols alone. NOT_FOUND:
  // no such file. INVALID_ARGUMENT: a bad line or text that is not UTF-8; the message has the file,
  // the line number and the expected form.
  static absl::StatusOr<Vocabulary> Load(const std::string& path);
  // Reads the text of such a file; `name` stands for the path in errors.
  static absl::StatusOr<Vocabulary> Parse(absl::string_view text, absl::string_view name);

  TokenId Id(absl::string_view symbol) const;  // The symbol's last id; kUnknown if it has none.
  // REQUIRES: 0 <= id < size(). The result is valid as long as a copy of this exists.
  absl::string_view Symbol(TokenId id) const;
  int size() const;
  bool has_repeats() const;  // Some symbol has several ids.

 private:
  class Table;
  explicit Vocabulary(std::shared_ptr<const Table> table);

  std::shared_ptr<const Table> table_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_VOCABULARY_H_
