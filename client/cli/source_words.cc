#include "client/cli/source_words.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/utf8.h"
#include "client/cli/characters.h"
#include "client/client.h"

namespace leapstream::client {
namespace {

constexpr size_t kMaxHeldBytes = 64 << 10;

// Bytes of the white space character at `text[at]`, as the server sees white space; 0: none.
size_t WhiteSpaceBytes(absl::string_view text, size_t at) {
  size_t length = 0;
  char32_t code_point = 0;
  if (ReadUtf8(text.substr(at), &length, &code_point) != Utf8::kCharacter) return 0;
  return IsPythonSpace(code_point) ? length : 0;
}

}  // namespace

absl::Status SourceWords::TakeWord(size_t size, absl::string_view after,
                                   std::vector<SourceItem>& items) {
  absl::string_view word = absl::string_view(pending_).substr(0, size);
  size_t valid_bytes = 0;
  if (!IsUtf8(word, &valid_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("the input must be UTF-8, but is not at byte ",
                                                   offset_ + valid_bytes, ", line ", line_,
                                                   "; convert it, with iconv for example"));
  }
  if (offset_ == 0) absl::ConsumePrefix(&word, kByteOrderMark);
  if (!word.empty()) {
    items.push_back({absl::StrCat(word, after), false});
    line_has_words_ = true;
  }
  pending_.erase(0, size);
  offset_ += static_cast<int64_t>(size);
  return absl::OkStatus();
}

absl::Status SourceWords::Append(absl::string_view bytes, std::vector<SourceItem>& items) {
  // A white space character may have begun in the last call; its first bytes cannot be one alone.
  size_t at = pending_.size() < 2 ? 0 : pending_.size() - 2;
  absl::StrAppend(&pending_, bytes);
  while (at < pending_.size()) {
    const size_t space = WhiteSpaceBytes(pending_, at);
    if (space == 0) {
      ++at;
      continue;
    }
    const bool ends_line = pending_[at] == '\n';
    const size_t words_before = items.size();
    LEAPSTREAM_RETURN_IF_ERROR(TakeWord(at, ends_line ? "" : " ", items));
    pending_.erase(0, space);
    offset_ += static_cast<int64_t>(space);
    at = 0;
    if (ends_line) {
      if (items.size() > words_before) {
        items.back().ends_line = true;
      } else {
        items.push_back({"", true});
      }
      line_has_words_ = false;
      ++line_;
    }
  }
  if (pending_.size() > kMaxHeldBytes) {
    size_t cut = pending_.size() - 3;  // An incomplete character has three bytes at most.
    while (cut > 0 && (static_cast<unsigned char>(pending_[cut]) & 0xC0) == 0x80) --cut;
    LEAPSTREAM_RETURN_IF_ERROR(TakeWord(cut, "", items));
  }
  return absl::OkStatus();
}

absl::Status SourceWords::Finish(std::vector<SourceItem>& items) {
  const size_t words_before = items.size();
  LEAPSTREAM_RETURN_IF_ERROR(TakeWord(pending_.size(), "", items));
  if (items.size() > words_before) {
    items.back().ends_line = true;
  } else if (line_has_words_) {
    items.push_back({"", true});
  }
  line_has_words_ = false;
  return absl::OkStatus();
}

}  // namespace leapstream::client
