#include "model/api/vocabulary.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "model/api/file_bytes.h"

namespace leapstream {
namespace {

constexpr absl::string_view kOverwriteFlag = "#fairseq:overwrite";
constexpr int kMaxSymbols = 1 << 24;

// Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t j) { return static_cast<unsigned char>(text[j]); };
    const unsigned char lead = byte(i);
    const int length = lead < 0x80   ? 1
                       : lead < 0xC2 ? 0
                       : lead < 0xE0 ? 2
                       : lead < 0xF0 ? 3
                       : lead < 0xF5 ? 4
                                     : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (int j = 1; j < length; ++j) {
      if ((byte(i + j) & 0xC0) != 0x80) return false;
    }
    if (length > 2) {
      const unsigned char second = byte(i + 1);
      if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
          (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
        return false;
      }
    }
    i += length;
  }
  return true;
}

// Python's str.rsplit(" ", 1).
bool SplitAtLastSpace(absl::string_view text, absl::string_view* before, absl::string_view* after) {
  const size_t space = text.rfind(' ');
  if (space == absl::string_view::npos) return false;
  *after = text.substr(space + 1);
  *before = text.substr(0, space);
  return true;
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Load(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  return Parse(file->bytes(), path);
}

absl::StatusOr<Vocabulary> Vocabulary::Parse(absl::string_view text, absl::string_view name) {
  Vocabulary vocabulary;
  const auto add = [&vocabulary](absl::string_view symbol) {
    vocabulary.ids_[std::string(symbol)] = vocabulary.size();
    vocabulary.symbols_.emplace_back(symbol);
  };
  for (absl::string_view special : {"<s>", "<pad>", "</s>", "<unk>"}) add(special);

  for (int number = 1; !text.empty(); ++number) {
    // Python's text mode, which fairseq reads with, ends a line at \n, \r\n and a lone \r.
    const size_t end = text.find_first_of("\r\n");
    absl::string_view line = text.substr(0, end);
    if (end == absl::string_view::npos) {
      text = {};
    } else {
      text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
    }

    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(name, ":", number, ": ", what));
    };
    if (!IsUtf8(line)) return error("not UTF-8");
    line = absl::StripTrailingAsciiWhitespace(line);
    absl::string_view symbol, field;
    bool split = SplitAtLastSpace(line, &symbol, &field);
    const bool overwrite = split && field == kOverwriteFlag;
    if (overwrite) split = SplitAtLastSpace(symbol, &symbol, &field);
    int64_t count = 0;
    if (!split || !absl::SimpleAtoi(field, &count)) {
      return error("expected `symbol count` or `symbol count #fairseq:overwrite`");
    }
    if (!overwrite && vocabulary.ids_.count(std::string(symbol)) > 0) {
      return error(absl::StrCat("symbol `", symbol, "` is there already; a repeated symbol needs ",
                                kOverwriteFlag, " after its count"));
    }
    if (vocabulary.size() == kMaxSymbols) {
      return error(absl::StrCat("more than ", kMaxSymbols, " symbols"));
    }
    add(symbol);
  }
  return vocabulary;
}

TokenId Vocabulary::Id(absl::string_view symbol) const {
  const auto found = ids_.find(std::string(symbol));
  return found == ids_.end() ? kUnknown : found->second;
}

const std::string& Vocabulary::Symbol(TokenId id) const {
  LEAPSTREAM_CHECK(id >= 0 && id < size());
  return symbols_[id];
}

}  // namespace leapstream
