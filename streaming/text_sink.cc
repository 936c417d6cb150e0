#include "streaming/text_sink.h"

#include "base/utf8.h"

namespace leapstream {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string TextSink::Append(absl::string_view symbol) {
  return AppendBytes(tokenizer_->AppendSymbol(symbol, &state_));
}

std::string TextSink::Finish() {
  std::string text = AppendBytes(tokenizer_->FinishSymbols(&state_));
  return text + PopHeld(true);
}

void TextSink::Reset() {
  state_ = TokenizerState();
  held_.clear();
}

std::string TextSink::AppendBytes(const TargetBytes& bytes) {
  std::string text = PopHeld(bytes.breaks_character);
  held_ += bytes.bytes;
  return text + PopHeld(false);
}

std::string TextSink::PopHeld(bool all) {
  std::string text;
  absl::string_view held = held_;
  while (!held.empty()) {
    size_t length = 0;
    char32_t code_point = 0;
    const Utf8 found = ReadUtf8(held, &length, &code_point);
    if (found == Utf8::kPrefix && !all) break;
    if (found == Utf8::kCharacter) {
      text.append(held.data(), length);
    } else {
      // As in SentencePiece, each byte that cannot be part of a character gives one U+FFFD.
      length = 1;
      text += kReplacement;
    }
    held.remove_prefix(length);
  }
  held_.erase(0, held_.size() - held.size());
  return text;
}

}  // namespace leapstream
