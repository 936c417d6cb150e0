#include "model/api/piece_check.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

constexpr int64_t kSaidBelow = 95;        // Percent of the pieces.
constexpr int64_t kRefusedBelow = 50;     // Percent of the pieces.
constexpr int64_t kPartOfThePieces = 90;  // Percent of the dictionary's symbols.
// The bounds for BPE codes: a joined dictionary has symbols of two languages, each with codes, and
// languages with one alphabet share many symbols.
constexpr int64_t kSaidOfSymbols = 80;     // Percent of the dictionary's symbols.
constexpr int64_t kRefusedOfSymbols = 20;  // Percent of the dictionary's symbols.

struct Share {
  int64_t found = 0;
  int64_t all = 0;
  bool Below(int64_t percent) const { return found * 100 < all * percent; }
};

Share PiecesIn(const std::vector<std::string>& pieces, const Vocabulary& vocabulary) {
  Share share;
  share.all = static_cast<int64_t>(pieces.size());
  for (const std::string& piece : pieces) share.found += vocabulary.Id(piece) != kUnknown ? 1 : 0;
  return share;
}

// Whether fairseq added the symbol to fill the dictionary up: madeupword0000 and so on.
bool IsFiller(absl::string_view symbol) {
  return absl::ConsumePrefix(&symbol, "madeupword") && !symbol.empty() &&
         std::all_of(symbol.begin(), symbol.end(), [](char c) { return absl::ascii_isdigit(c); });
}

Share SymbolsIn(const Vocabulary& vocabulary, const std::vector<std::string>& pieces) {
  const absl::flat_hash_set<std::string> all(pieces.begin(), pieces.end());
  Share share;
  for (TokenId id = kUnknown + 1; id < vocabulary.size(); ++id) {
    if (IsFiller(vocabulary.Symbol(id))) continue;
    ++share.all;
    share.found += static_cast<int64_t>(all.count(vocabulary.Symbol(id)));
  }
  return share;
}

// Whether a symbol is one character, possibly with "@@": no merge makes it.
bool IsCharacter(absl::string_view symbol) {
  absl::ConsumeSuffix(&symbol, "@@");
  size_t size = 0;
  char32_t c = 0;
  return !symbol.empty() && ReadUtf8(symbol, &size, &c) == Utf8::kCharacter &&
         size == symbol.size();
}

// Checks BPE codes, of whose symbols many are only steps to longer ones: the dictionary's symbols
// of several characters should be among those that the codes make.
absl::Status CheckCodes(const SidePieces& own, const std::vector<std::string>& pieces,
                        std::vector<std::string>* notes) {
  const absl::flat_hash_set<std::string> all(pieces.begin(), pieces.end());
  Share share;
  for (TokenId id = kUnknown + 1; id < own.vocabulary->size(); ++id) {
    const absl::string_view symbol = own.vocabulary->Symbol(id);
    if (IsFiller(symbol) || IsCharacter(symbol)) continue;
    ++share.all;
    share.found += static_cast<int64_t>(all.count(symbol));
  }
  if (!share.Below(kSaidOfSymbols)) return absl::OkStatus();
  const std::string numbers = absl::StrCat(
      own.side, ": the codes ", own.sentencepiece_path, " make ", share.found, " of the ",
      share.all, " symbols of several characters (", share.found * 100 / share.all,
      " %) in the dictionary ", own.dictionary_path);
  if (share.Below(kRefusedOfSymbols)) {
    return absl::InvalidArgumentError(absl::StrCat(
        numbers, "; are they the codes of another model or of the other language? Use those that "
                 "the training data was encoded with"));
  }
  notes->push_back(absl::StrCat(numbers, "; are they the codes that the training data was encoded "
                                         "with?"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CheckPieces(absl::Span<const SidePieces> sides) {
  std::vector<std::string> notes;
  for (const SidePieces& own : sides) {
    const std::vector<std::string> pieces = own.tokenizer->Pieces();
    if (pieces.empty()) continue;
    if (!own.tokenizer->needs_all_pieces()) {
      LEAPSTREAM_RETURN_IF_ERROR(CheckCodes(own, pieces, &notes));
      continue;
    }
    const Share share = PiecesIn(pieces, *own.vocabulary);
    if (!share.Below(kSaidBelow)) continue;
    const std::string numbers = absl::StrCat(
        own.side, ": ", share.found, " of the ", share.all, " pieces of ", own.sentencepiece_path,
        " (", share.found * 100 / share.all, " %) are in the dictionary ", own.dictionary_path);
    const Share symbols = SymbolsIn(*own.vocabulary, pieces);
    if (!share.Below(kRefusedBelow) || !symbols.Below(kPartOfThePieces)) {
      notes.push_back(absl::StrCat(numbers, "; the others become <unk>"));
      continue;
    }
    std::string guess =
        "; is it a model of another vocabulary? Use the SentencePiece model that the training data "
        "was made with";
    for (const SidePieces& other : sides) {
      const Share there = PiecesIn(pieces, *other.vocabulary);
      if (&other == &own || there.found <= share.found || there.Below(kRefusedBelow)) continue;
      guess = absl::StrCat("; are source and target swapped? ", there.found, " of them are in the ",
                           other.side, "'s, ", other.dictionary_path);
    }
    return absl::InvalidArgumentError(absl::StrCat(numbers, guess));
  }
  return notes;
}

}  // namespace leapstream
