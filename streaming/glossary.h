#ifndef LEAPSTREAM_STREAMING_GLOSSARY_H_
#define LEAPSTREAM_STREAMING_GLOSSARY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/glossary_text.h"
#include "model/api/model.h"

namespace leapstream {

// A text that stands in a target as it is: the symbols of the target's tokenizer, and their ids.
// The id of a symbol that the dictionary lacks is kUnknown.
struct TargetTerm {
  std::vector<std::string> symbols;
  std::vector<TokenId> ids;
};
TargetTerm MakeTargetTerm(absl::string_view text, const Model& model);

// A part of a text within which no term begins or ends: a word of letters and digits, a character
// of a script without spaces, or any other character.
struct TextAtom {
  size_t end = 0;      // The byte behind it.
  std::string folded;  // In lower case.
};
std::vector<TextAtom> AtomsOf(absl::string_view text);

// The terms of a session, made ready for one model. Immutable, thread-safe.
class Glossary {
 public:
  static constexpr int kNone = -1;
  static constexpr size_t kMostAtoms = 64;  // Of a term, its spaces included.

  // INVALID_ARGUMENT: see CheckGlossary(); a term has too many atoms, or a target that the model
  // cannot write.
  static absl::StatusOr<std::shared_ptr<const Glossary>> Create(std::vector<GlossaryTerm> terms,
                                                                const Model& model);

  struct Entry {
    std::string source;
    TargetTerm target;
    bool kept = false;  // The term is not translated.
  };
  const Entry& entry(int number) const { return entries_[static_cast<size_t>(number)]; }

  // The entry for a text with so many atoms, or kNone. `folded`: the folded atoms, with spaces
  // between words. An entry without capitals is for any case; one that has the text's own comes
  // first.
  int Find(absl::string_view folded, absl::string_view text) const;
  // Whether some term has so many atoms.
  bool has_length(size_t atoms) const { return ((lengths_ >> (atoms - 1)) & 1) != 0; }
  int lengths() const;  // The number of different lengths.

  const std::vector<GlossaryTerm>& terms() const { return terms_; }
  int64_t bytes() const;  // About the memory that it takes.

 private:
  std::vector<GlossaryTerm> terms_;
  std::vector<Entry> entries_;
  uint64_t lengths_ = 0;  // Bit n - 1: some term has n atoms.
  absl::flat_hash_map<std::string, int> by_source_;  // The number of the first entry of a source.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_GLOSSARY_H_
