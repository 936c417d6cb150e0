#include "streaming/text_source.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/scripts.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

// Whether a word that is too long is best cut after `c`: a mark that ends sentences or clauses, in
// any script.
bool IsMark(char32_t c) {
  static constexpr char32_t kMarks[] = {
      '!',    ',',    '.',    ':',    ';',    '?',    0x037E, 0x0589, 0x060C, 0x061B,
      0x061F, 0x06D4, 0x0964, 0x0965, 0x0F0D, 0x104A, 0x104B, 0x1361, 0x1362, 0x1363,
      0x1364, 0x1365, 0x1366, 0x1367, 0x1368, 0x17D4, 0x17D5, 0x203C, 0x2026, 0x3001,
      0x3002, 0xFE12, 0xFF01, 0xFF0C, 0xFF0E, 0xFF1A, 0xFF1B, 0xFF1F, 0xFF61, 0xFF64};
  return std::binary_search(std::begin(kMarks), std::end(kMarks), c);
}

}  // namespace

void TextSource::Append(absl::string_view bytes) {
  Compact();
  text_.append(bytes.data(), bytes.size());
}

void TextSource::Finish() { finished_ = true; }

absl::StatusOr<std::string> TextSource::NextWord(int64_t* bytes) {
  if (!error_.ok()) return error_;
  const absl::string_view text = text_;
  while (scanned_ < text.size()) {
    if (*bytes <= 0) return std::string();
    size_t length = 0;
    char32_t code_point = 0;
    const Utf8 found = ReadUtf8(text.substr(scanned_), &length, &code_point);
    if (found == Utf8::kPrefix && !finished_) return std::string();
    if (found != Utf8::kCharacter) {
      error_ = absl::InvalidArgumentError(absl::StrCat(
          "expected UTF-8 text, but the bytes at offset ", consumed_ + scanned_, " are not"));
      return error_;
    }
    *bytes = std::max<int64_t>(*bytes - static_cast<int64_t>(length), 0);
    const size_t size = scanned_ - begin_;
    if (IsPythonSpace(code_point)) {
      std::string word = CutWord(size);
      scanned_ += length;
      begin_ = scanned_;
      if (!word.empty()) return word;
    } else if (size + length > budget::kWordBytes) {
      const bool at_mark = !unspaced_ && mark_ > begin_ + budget::kWordBytes / 2;
      return CutWord(at_mark ? mark_ - begin_ : size);
    } else {
      scanned_ += length;
      if (IsOfScriptWithoutSpaces(code_point)) unspaced_ = true;
      if (IsMark(code_point)) mark_ = scanned_;
      if (unspaced_ && mark_ == scanned_ && size + length > budget::kWordBytes / 4 * 3) {
        return CutWord(size + length);
      }
    }
  }
  if (!finished_) return std::string();
  return CutWord(text.size() - begin_);
}

std::string TextSource::CutWord(size_t size) {
  std::string word = text_.substr(begin_, size);
  word_begin_ = consumed_ + begin_;
  begin_ += size;
  scanned_ = begin_;
  unspaced_ = false;
  return word;
}

void TextSource::Reset() { *this = TextSource(); }

void TextSource::Compact() {
  // Text is moved only if fewer bytes move than are freed: all moves together are linear in the
  // text.
  if (begin_ < text_.size() - begin_) return;
  text_.erase(0, begin_);
  consumed_ += begin_;
  scanned_ -= begin_;
  mark_ -= std::min(mark_, begin_);
  begin_ = 0;
}

}  // namespace leapstream
