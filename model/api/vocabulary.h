#ifndef LEAPSTREAM_MODEL_API_VOCABULARY_H_
#define LEAPSTREAM_MODEL_API_VOCABULARY_H_

#include <string>
#include <unordered_map>
#include <vector>

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
// thread-safe.
class Vocabulary {
 public:
  // Reads `dict.XX.txt` (fairseq/data/dictionary.py). Each line is `symbol count`: white space of
  // all scripts is stripped from its end, and it is split at the last space. The count is a number
  // that Python's int() takes. Line n (from 0) has id n + 4. A repeated symbol needs
  // `#fairseq:overwrite` after its count. An empty file gives the special symbols alone. NOT_FOUND:
  // no such file. INVALID_ARGUMENT: a bad line or text that is not UTF-8; the message has the file,
  // the line number and the expected form.
  static absl::StatusOr<Vocabulary> Load(const std::string& path);
  // Reads the text of such a file; `name` stands for the path in errors.
  static absl::StatusOr<Vocabulary> Parse(absl::string_view text, absl::string_view name);

  TokenId Id(absl::string_view symbol) const;   // The symbol's last id; kUnknown if it has none.
  const std::string& Symbol(TokenId id) const;  // 0 <= id < size().
  int size() const { return static_cast<int>(symbols_.size()); }
  bool has_repeats() const { return has_repeats_; }  // Some symbol has several ids.

 private:
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, TokenId> ids_;
  bool has_repeats_ = false;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_VOCABULARY_H_
