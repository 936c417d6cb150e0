#include "model/api/vocabulary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/ascii.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/quoted.h"
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
  if (!text.empty() && absl::c_all_of(text, absl::ascii_isdigit)) return true;  // As in most lines.
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

// The place of the first \n or \r, or the end of the text.
size_t LineEnd(absl::string_view text) {
  size_t end = 0;
  while (end < text.size() && text[end] != '\n' && text[end] != '\r') ++end;
  return end;
}

}  // namespace

// All symbols one after the other, and the set of the ids, which is searched by symbol.
class Vocabulary::Table {
 public:
  Table() : ids_(0, Hash{this}, Equal{this}) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  void Reserve(size_t symbols, size_t bytes) {
    ends_.reserve(symbols);
    text_.reserve(bytes);
    ids_.reserve(symbols);
  }
  // Gives the symbol the next id. False: it had one before.
  bool Add(absl::string_view symbol) {
    text_.append(symbol.data(), symbol.size());
    ends_.push_back(text_.size());
    const auto [found, is_new] = ids_.insert(size() - 1);
    if (is_new) return true;
    has_repeats_ = true;
    ids_.erase(found);
    ids_.insert(size() - 1);
    return false;
  }

  int size() const { return static_cast<int>(ends_.size()); }
  bool has_repeats() const { return has_repeats_; }
  TokenId Id(absl::string_view symbol) const {
    const auto found = ids_.find(symbol);
    return found == ids_.end() ? kUnknown : *found;
  }
  absl::string_view Symbol(TokenId id) const {
    const size_t begin = id == 0 ? 0 : ends_[id - 1];
    return absl::string_view(text_).substr(begin, ends_[id] - begin);
  }

 private:
  // Both take an id for its symbol.
  struct Hash {
    using is_transparent = void;
    const Table* table;
    size_t operator()(absl::string_view symbol) const {
      return absl::Hash<absl::string_view>()(symbol);
    }
    size_t operator()(TokenId id) const { return (*this)(table->Symbol(id)); }
  };
  struct Equal {
    using is_transparent = void;
    const Table* table;
    bool operator()(TokenId a, TokenId b) const { return (*this)(a, table->Symbol(b)); }
    bool operator()(TokenId id, absl::string_view symbol) const {
      return table->Symbol(id) == symbol;
    }
    bool operator()(absl::string_view symbol, TokenId id) const { return (*this)(id, symbol); }
  };

  std::string text_;
  std::vector<size_t> ends_;  // The end of each symbol in text_.
  absl::flat_hash_set<TokenId, Hash, Equal> ids_;  // The last id of each symbol.
  bool has_repeats_ = false;
};

Vocabulary::Vocabulary() : table_(std::make_shared<Table>()) {}
Vocabulary::Vocabulary(std::shared_ptr<const Table> table) : table_(std::move(table)) {}

absl::StatusOr<Vocabulary> Vocabulary::Load(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  return Parse(file->bytes(), path);
}

absl::StatusOr<Vocabulary> Vocabulary::Parse(absl::string_view text, absl::string_view name) {
  const auto table = std::make_shared<Table>();
  constexpr absl::string_view kSpecials[] = {"<s>", "<pad>", "</s>", "<unk>"};
  const auto lines = static_cast<size_t>(absl::c_count(text, '\n'));
  table->Reserve(std::min<size_t>(lines, kMaxSymbols) + 5, text.size() + 32);
  for (const absl::string_view special : kSpecials) table->Add(special);

  for (int number = 1; !text.empty(); ++number) {
    // Python's text mode, which fairseq reads with, ends a line at \n, \r\n and a lone \r.
    const size_t end = LineEnd(text);
    absl::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + (text.substr(end, 2) == "\r\n" ? 2 : 1)));

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
    if (table->size() == kMaxSymbols) {
      return error(absl::StrCat("more than ", kMaxSymbols, " symbols"));
    }
    if (!table->Add(symbol) && !overwrite) {
      return error(absl::StrCat("symbol ", Quoted(symbol), " is there already; a repeated symbol needs ",
                                kOverwriteFlag, " after its count"));
    }
  }
  return Vocabulary(table);
}

TokenId Vocabulary::Id(absl::string_view symbol) const { return table_->Id(symbol); }

absl::string_view Vocabulary::Symbol(TokenId id) const {
  LEAPSTREAM_CHECK(id >= 0 && id < size());
  return table_->Symbol(id);
}

int Vocabulary::size() const { return table_->size(); }
bool Vocabulary::has_repeats() const { return table_->has_repeats(); }

}  // namespace leapstream
