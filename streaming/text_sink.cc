#include "streaming/text_sink.h"

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "streaming/utf8.h"

namespace leapstream {
namespace {

constexpr char kSpaceSymbol[] = "\xE2\x96\x81";  // U+2581
constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

int HexDigit(char digit) {
  return digit <= '9' ? digit - '0' : digit - 'A' + 10;  // SentencePiece writes upper case only.
}

}  // namespace

std::string TextSink::Append(absl::string_view piece) {
  const PieceKind kind = tokenizer_->Kind(piece);
  if (kind == PieceKind::kByte) {  // <0xNN>
    held_bytes_.push_back(static_cast<char>(HexDigit(piece[3]) * 16 + HexDigit(piece[4])));
    return TakeHeld(false);
  }
  std::string text = TakeHeld(true);
  switch (kind) {
    case PieceKind::kControl:
    case PieceKind::kByte:
      return text;
    case PieceKind::kUnknown:
      text += tokenizer_->unknown_surface();
      break;
    case PieceKind::kVerbatim:
      text.append(piece.data(), piece.size());
      break;
    case PieceKind::kText:
      if (at_start_ && tokenizer_->strips_leading_space() &&
          absl::ConsumePrefix(&piece, kSpaceSymbol) && !tokenizer_->strips_all_leading_space()) {
        at_start_ = false;
      }
      text += absl::StrReplaceAll(piece, {{kSpaceSymbol, " "}});
      break;
  }
  if (!text.empty()) at_start_ = false;
  return text;
}

std::string TextSink::Finish() { return TakeHeld(true); }

void TextSink::Reset() {
  held_bytes_.clear();
  at_start_ = true;
}

std::string TextSink::TakeHeld(bool all) {
  std::string text;
  absl::string_view held = held_bytes_;
  while (!held.empty()) {
    size_t length = 0;
    char32_t code_point = 0;
    const Utf8 found = ReadUtf8(held, &length, &code_point);
    if (found == Utf8::kPrefix && !all) break;
    if (found == Utf8::kCharacter) {
      text.append(held.data(), length);
    } else {
      // As SentencePiece: one for each byte, then the next byte may start a character.
      length = 1;
      text += kReplacement;
    }
    held.remove_prefix(length);
  }
  held_bytes_.erase(0, held_bytes_.size() - held.size());
  if (!text.empty()) at_start_ = false;
  return text;
}

}  // namespace leapstream
