#include "streaming/target_units.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/scripts.h"
#include "base/utf8.h"
#include "model/api/sentencepiece.h"

namespace leapstream {
namespace {

constexpr int kNoByte = -1;

// The byte of a SentencePiece byte piece, such as 0xC3 of "<0xC3>"; kNoByte: it is another piece.
int ByteOfPiece(absl::string_view piece) {
  if (piece.size() != 6 || !absl::ConsumePrefix(&piece, "<0x") ||
      !absl::ConsumeSuffix(&piece, ">")) {
    return kNoByte;
  }
  int byte = 0;
  return absl::SimpleHexAtoi(piece, &byte) ? byte : kNoByte;
}

// Whether a byte begins a character of a kind that is no letter of a word: kana, Han, or one beyond
// the basic plane.
bool BeginsLoneCharacter(int byte) { return (byte >= 0xE3 && byte <= 0xE9) || byte >= 0xF0; }

}  // namespace

bool TargetUnits::Begins(TokenId previous, TokenId id) const {
  if (previous == kNone) return true;
  absl::string_view symbol = model_.target_vocabulary.Symbol(id);
  if (model_.target_tokenizer->BeginsWord(model_.target_vocabulary.Symbol(previous), symbol)) {
    return true;
  }
  const int byte = ByteOfPiece(symbol);
  if (byte != kNoByte) return BeginsLoneCharacter(byte);
  size_t length = 0;
  char32_t first = 0;
  return !symbol.empty() && ReadUtf8(symbol, &length, &first) == Utf8::kCharacter &&
         IsOfScriptWithoutSpaces(first);
}

bool TargetUnits::EndsCharacter(absl::Span<const TokenId> ids) const {
  char bytes[4];
  size_t count = 0;
  while (count < sizeof(bytes) && count < ids.size()) {
    const int byte =
        ByteOfPiece(model_.target_vocabulary.Symbol(ids[ids.size() - 1 - count]));
    if (byte == kNoByte) return true;
    bytes[sizeof(bytes) - 1 - count++] = static_cast<char>(byte);
    if (byte >= 0xC0) break;  // The first byte of a character.
  }
  if (count == 0) return true;
  size_t length = 0;
  char32_t code_point = 0;
  return ReadUtf8({bytes + sizeof(bytes) - count, count}, &length, &code_point) != Utf8::kPrefix;
}

bool TargetUnits::Cuts(absl::Span<const TokenId> ids, int count, const Around& around) const {
  const auto place = static_cast<size_t>(count);
  const TokenId next = place < ids.size() ? ids[place] : around.next;
  if (next == kNone) return false;
  if (next == around.end) return EndsCharacter(ids.first(place));
  return Begins(place == 0 ? around.previous : ids[place - 1], next);
}

int TargetUnits::Whole(absl::Span<const TokenId> ids, int most, const Around& around) const {
  int count = most;
  while (count > 0 && !Cuts(ids, count, around)) --count;
  return count;
}

int TargetUnits::First(absl::Span<const TokenId> ids, const Around& around) const {
  for (int count = 1; count <= static_cast<int>(ids.size()); ++count) {
    if (Cuts(ids, count, around)) return count;
  }
  return 0;
}

}  // namespace leapstream
