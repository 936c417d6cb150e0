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

namespace leapstream {
namespace {

constexpr int64_t kSaidBelow = 95;        // Percent of the pieces.
constexpr int64_t kRefusedBelow = 50;     // Percent of the pieces.
constexpr int64_t kPartOfThePieces = 90;  // Percent of the dictionary's symbols.

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

}  // namespace

absl::StatusOr<std::vector<std::string>> CheckPieces(absl::Span<const SidePieces> sides) {
  std::vector<std::string> notes;
  for (const SidePieces& own : sides) {
    const std::vector<std::string> pieces = own.tokenizer->Pieces();
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
