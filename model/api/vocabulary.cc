#include "model/api/vocabulary.h"

#include <cstdint>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "base/utf8.h"
#include "model/api/file_bytes.h"

namespace leapstream {
namespace {

constexpr absl::string_view kOverwriteFlag = "#fairseq:overwrite";
constexpr int kMaxSymbols = 1 << 24;

// The decimal digit zero of each script (Unicode 14, category Nd); the digits 1 to 9 follow each.
constexpr uint32_t kZeros[] = {
    0x0030,  0x0660,  0x06f0,  0x07c0,  0x0966,  0x09e6,  0x0a66,  0x0ae6,  0x0b66,  0x0be6,
    0x0c66,  0x0ce6,  0x0d66,  0x0de6,  0x0e50,  0x0ed0,  0x0f20,  0x1040,  0x1090,  0x17e0,
    0x1810,  0x1946,  0x19d0,  0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40,  0x1c50,  0xa620,
    0xa8d0,  0xa900,  0xa9d0,  0xa9f0,  0xaa50,  0xabf0,  0xff10,  0x104a0, 0x10d30, 0x11066,
    0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0,
    0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2,
    0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0};

// The code point that ends `text`, which is UTF-8 and not empty, and its length in bytes.
uint32_t LastCodePoint(absl::string_view text, size_t* length) {
  size_t begin = text.size() - 1;
  while ((text[begin] & 0xC0) == 0x80) --begin;
  *length = text.size() - begin;
  const auto lead = static_cast<unsigned char>(text[begin]);
  uint32_t point = *length == 1 ? lead : lead & (0x7F >> *length);
  for (size_t i = begin + 1; i < text.size(); ++i) point = point << 6 | (text[i] & 0x3F);
  return point;
}

// The text without white space at its end, as Python's str.rstrip() gives it.
absl::string_view StripTrailingSpace(absl::string_view text) {
  size_t length = 0;
  while (!text.empty() && IsPythonSpace(LastCodePoint(text, &length))) text.remove_suffix(length);
  return text;
}

// Whether Python's int() takes the text: digits of any script, `_` between them, a sign, white
// space around. fairseq does not use the number, here or at inference.
bool IsPythonInteger(absl::string_view text) {
  enum { kNothing, kDigit, kUnderscore, kSign, kSpaceBefore } right = kNothing;
  text = StripTrailingSpace(text);
  bool digits = false;
  while (!text.empty()) {  // The text is read from its end.
    size_t length = 0;
    const uint32_t point = LastCodePoint(text, &length);
    text.remove_suffix(length);
    const bool is_digit = absl::c_any_of(
        kZeros, [point](uint32_t zero) { return point >= zero && point < zero + 10; });
    if (is_digit) {
      if (right == kSign || right == kSpaceBefore) return false;
      right = kDigit;
      digits = true;
    } else if (point == '_') {
      if (right != kDigit) return false;
      right = kUnderscore;
    } else if (point == '+' || point == '-') {
      if (right != kDigit) return false;
      right = kSign;
    } else if (IsPythonSpace(point)) {
      if (right != kDigit && right != kSign && right != kSpaceBefore) return false;
      right = kSpaceBefore;
    } else {
      return false;
    }
  }
  return digits && right != kUnderscore;
}

// Splits a text at its last space, as Python's str.rsplit(" ", 1). False: it has no space.
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
    TokenId& id = vocabulary.ids_.emplace(symbol, vocabulary.size()).first->second;
    if (id != vocabulary.size()) vocabulary.has_repeats_ = true;
    id = vocabulary.size();
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
    line = StripTrailingSpace(line);
    absl::string_view symbol, field;
    bool split = SplitAtLastSpace(line, &symbol, &field);
    const bool overwrite = split && field == kOverwriteFlag;
    if (overwrite) split = SplitAtLastSpace(symbol, &symbol, &field);
    if (!split || !IsPythonInteger(field)) {
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
