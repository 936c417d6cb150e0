#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_BPE_CODES_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_BPE_CODES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// The merges of a byte-pair encoding, as subword-nmt and fastBPE learn them (Sennrich et al. 2016,
// https://aclanthology.org/P16-1162). A word's symbols end in "@@", but for the last one.
// Immutable and thread-safe.
class BpeCodes {
 public:
  enum class Format {
    // The first line is "#version: 0.2", or "#version: 0.1", or missing: then it is 0.1. All other
    // lines are `left right`. The first of equal lines counts.
    kSubwordNmt,
    // A line is `left right count`, or without the count. There is no version, and merges are those
    // of version 0.2. The last of equal lines counts.
    kFastBpe,
  };
  // Reads a file's text, which messages call `name`. INVALID_ARGUMENT: it is no such file; the
  // message has the line and says what it should be.
  static absl::StatusOr<BpeCodes> Parse(absl::string_view text, Format format,
                                        absl::string_view name);

  // Makes Symbols() undo each symbol that is not in a vocabulary, as subword-nmt's
  // --vocabulary-threshold does. `text` is a file of lines `symbol count`, from which those with a
  // count of at least `threshold` are used. INVALID_ARGUMENT: a line has another form.
  absl::Status SetVocabulary(absl::string_view text, int threshold, absl::string_view name);

  // The symbols of a word (UTF-8), which has no space. An empty word has none. The time is
  // quadratic in the word's characters.
  std::vector<std::string> Symbols(absl::string_view word) const;

  // All symbols that merges make.
  std::vector<std::string> Pieces() const;

 private:
  struct Merge {
    int32_t rank = 0;    // The merge of the lowest rank is made first.
    int32_t merged = 0;  // The symbol that the pair becomes.
  };
  int32_t Intern(const std::string& symbol);
  int32_t Find(const std::string& symbol) const;  // kNone if no merge has the symbol.
  static uint64_t Pair(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  // Appends `symbol`, or the symbols of the vocabulary that it is undone into. It has neither "@@"
  // nor "</w>". `last`: the word ends with it.
  void AppendKnown(const std::string& symbol, bool last, std::vector<std::string>* symbols) const;

  bool end_is_a_symbol_ = false;  // Version 0.1: "</w>" is a symbol of its own.
  // The symbols of the merges, numbered. A last symbol ends in "</w>".
  absl::flat_hash_map<std::string, int32_t> numbers_;
  std::vector<std::string> texts_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // By Pair().
  // The pair that a symbol is undone into, if there is a vocabulary.
  absl::flat_hash_map<int32_t, std::pair<int32_t, int32_t>> halves_;
  bool has_vocabulary_ = false;
  absl::flat_hash_set<std::string> vocabulary_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_BPE_CODES_H_
