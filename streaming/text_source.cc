#include "streaming/text_source.h"

#include "absl/strings/str_cat.h"
#include "streaming/utf8.h"

namespace leapstream {
namespace {

// What Python's str.split() splits at: the reference tokenises its source with it.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

}  // namespace

void TextSource::Append(absl::string_view bytes) {
  Compact();
  text_.append(bytes.data(), bytes.size());
}

void TextSource::Finish() { finished_ = true; }

absl::StatusOr<std::string> TextSource::NextWord() {
  if (!error_.ok()) return error_;
  const absl::string_view text = text_;
  while (scanned_ < text.size()) {
    size_t length = 0;
    char32_t code_point = 0;
    const Utf8 found = ReadUtf8(text.substr(scanned_), &length, &code_point);
    if (found == Utf8::kPrefix && !finished_) return std::string();
    if (found != Utf8::kCharacter) {
      error_ = absl::InvalidArgumentError(absl::StrCat(
          "expected UTF-8 text, but the bytes at offset ", consumed_ + scanned_, " are not"));
      return error_;
    }
    if (IsSpace(code_point)) {
      std::string word(text.substr(begin_, scanned_ - begin_));
      scanned_ += length;
      begin_ = scanned_;
      if (!word.empty()) return word;
    } else {
      scanned_ += length;
    }
  }
  if (!finished_) return std::string();
  std::string word(text.substr(begin_));
  begin_ = scanned_;
  return word;
}

void TextSource::Reset() { *this = TextSource(); }

void TextSource::Compact() {
  // Only when it moves fewer bytes than it frees: all moves together are linear in the text.
  if (begin_ < text_.size() - begin_) return;
  text_.erase(0, begin_);
  consumed_ += begin_;
  scanned_ -= begin_;
  begin_ = 0;
}

}  // namespace leapstream
