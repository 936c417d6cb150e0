#include "streaming/symbol_alignment.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/utf8.h"
#include "model/api/sentencepiece.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {
namespace {

// The number of a character's NFKC characters behind `*newest`, which becomes the last of them.
int NfkcCharacters(char32_t character, char32_t* newest) {
  const auto point = static_cast<UChar32>(character);
  if (u_isUWhiteSpace(point) != 0 || u_iscntrl(point) != 0) return 0;
  UErrorCode status = U_ZERO_ERROR;
  const UNormalizer2* const nfkc = unorm2_getNFKCInstance(&status);
  if (U_FAILURE(status)) return 1;
  std::array<UChar, 2> units;
  int32_t size = 0;
  U16_APPEND_UNSAFE(units.data(), size, point);
  std::array<UChar, 64> form;
  const int32_t length =
      unorm2_normalize(nfkc, units.data(), size, form.data(), form.size(), &status);
  if (U_FAILURE(status)) return 1;
  int count = 0;
  for (int32_t at = 0; at < length;) {
    UChar32 c = 0;
    U16_NEXT(form.data(), at, length, c);
    const UChar32 both = unorm2_composePair(nfkc, static_cast<UChar32>(*newest), c);
    count += both < 0 ? 1 : 0;
    *newest = static_cast<char32_t>(both < 0 ? c : both);
  }
  return count;
}

// Whether a symbol is the byte piece <0xNN>.
bool IsBytePiece(absl::string_view symbol) {
  return symbol.size() == 6 && symbol.substr(0, 3) == "<0x" && symbol[5] == '>' &&
         absl::ascii_isxdigit(static_cast<unsigned char>(symbol[3])) &&
         absl::ascii_isxdigit(static_cast<unsigned char>(symbol[4]));
}

// Whether the byte of a byte piece goes on with a character.
bool GoesOnCharacter(absl::string_view piece) {
  return absl::StrContains("89ABab", piece.substr(3, 1));
}

}  // namespace

void SymbolAlignment::SkipTags(absl::Span<const MarkupSpan> tags) {
  auto tag = std::lower_bound(tags.begin(), tags.end(), end_,
                              [](const MarkupSpan& a, size_t place) { return a.begin < place; });
  for (; tag != tags.end() && tag->begin == end_; ++tag) end_ = tag->end;
}

void SymbolAlignment::Take(absl::string_view text) {
  size_t size = 1;  // A byte that is no character is one.
  char32_t character = 0xFFFD;
  if (ReadUtf8(text.substr(end_), &size, &character) != Utf8::kCharacter) size = 1;
  spare_ = NfkcCharacters(character, &newest_);
  end_ += size;
}

size_t SymbolAlignment::Append(absl::string_view symbol, absl::string_view text,
                               absl::Span<const MarkupSpan> tags) {
  absl::ConsumePrefix(&symbol, kSpaceSymbol);
  absl::ConsumeSuffix(&symbol, "@@");
  if (IsBytePiece(symbol)) symbol = GoesOnCharacter(symbol) ? "" : "?";
  while (!symbol.empty()) {
    size_t size = 1;
    char32_t character = 0;
    if (ReadUtf8(symbol, &size, &character) != Utf8::kCharacter) size = 1;
    symbol.remove_prefix(size);
    while (spare_ == 0) {
      SkipTags(tags);
      if (end_ == text.size()) return end_;
      const auto byte = static_cast<unsigned char>(text[end_]);
      if (byte >= 0x80 && character == CharacterOfByte(byte)) {
        ++end_;
        spare_ = 1;
      } else {
        Take(text);
      }
    }
    --spare_;
  }
  return end_;
}

}  // namespace leapstream
