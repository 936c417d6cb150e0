#include "model/api/tokenizers/bpe_codes.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

constexpr char kEndOfWord[] = "</w>";
constexpr char kJoiner[] = "@@";
constexpr int32_t kNone = -1;
constexpr int32_t kMostMerges = 1 << 24;

absl::Status LineError(absl::string_view name, int64_t line, absl::string_view expected,
                       absl::string_view got) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": line ", line, ": expected ", expected,
                                                 ", got ", Quoted(got)));
}

// Pops the next line. As in subword-nmt, CR, LF and spaces at its end are no part of it.
absl::string_view PopLine(absl::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  absl::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  while (absl::ConsumeSuffix(&line, "\r") || absl::ConsumeSuffix(&line, " ")) continue;
  return line;
}

// The fields of a line; more than four of them do not count.
std::vector<absl::string_view> SplitFields(absl::string_view line) {
  std::vector<absl::string_view> fields;
  while (fields.size() < 4) {
    const size_t space = line.find(' ');
    fields.push_back(line.substr(0, space));
    if (space == absl::string_view::npos) break;
    line.remove_prefix(space + 1);
  }
  return fields;
}

bool IsPair(const std::vector<absl::string_view>& fields) {
  return fields.size() >= 2 && !fields[0].empty() && !fields[1].empty();
}

}  // namespace

absl::StatusOr<BpeCodes> BpeCodes::Parse(absl::string_view text, Format format,
                                         absl::string_view name) {
  if (!IsUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected BPE codes in UTF-8, but the bytes at offset ", Utf8PrefixBytes(text),
        " are not; give the codes file of subword-nmt or fastBPE"));
  }
  BpeCodes codes;
  const bool nmt = format == Format::kSubwordNmt;
  const size_t last = text.find_last_not_of("\r\n ");  // As subword-nmt strips the whole file.
  text = text.substr(0, last == absl::string_view::npos ? 0 : last + 1);
  codes.end_is_a_symbol_ = nmt;
  int64_t number = 0;
  while (!text.empty()) {
    const absl::string_view line = PopLine(&text);
    ++number;
    if (number == 1 && absl::StartsWith(line, "#version:")) {
      const bool newer = absl::EndsWith(line, " 0.2");
      if (!nmt || (!newer && !absl::EndsWith(line, " 0.1"))) {
        return LineError(name, number,
                         nmt ? "\"#version: 0.1\" or \"#version: 0.2\""
                             : "no version in a file of fastBPE (use --bpe subword_nmt)",
                         line);
      }
      codes.end_is_a_symbol_ = !newer;
      continue;
    }
    const std::vector<absl::string_view> fields = SplitFields(line);
    if (!IsPair(fields) || fields.size() > (nmt ? 2 : 3)) {
      return LineError(name, number,
                       nmt && fields.size() == 3
                           ? "`left right` (a file of fastBPE has three columns: use --bpe fastbpe)"
                       : nmt ? "`left right`"
                             : "`left right count`",
                       line);
    }
    if (number > kMostMerges) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": expected at most ", kMostMerges, " lines of BPE codes"));
    }
    const int32_t left = codes.Intern(std::string(fields[0]));
    const int32_t right = codes.Intern(std::string(fields[1]));
    Merge merge;
    merge.rank = static_cast<int32_t>(number);
    merge.merged = codes.Intern(absl::StrCat(fields[0], fields[1]));
    if (nmt) {
      codes.merges_.try_emplace(Pair(left, right), merge);
    } else {
      codes.merges_.insert_or_assign(Pair(left, right), merge);
    }
    codes.halves_.try_emplace(merge.merged, left, right);
  }
  return codes;
}

absl::Status BpeCodes::SetVocabulary(absl::string_view text, int threshold,
                                     absl::string_view name) {
  absl::flat_hash_set<std::string> vocabulary;
  for (int64_t number = 1; !text.empty(); ++number) {
    const absl::string_view line = PopLine(&text);
    const std::vector<absl::string_view> fields = SplitFields(line);
    int64_t count = 0;
    if (!IsPair(fields) || fields.size() != 2 || !absl::SimpleAtoi(fields[1], &count)) {
      return LineError(name, number, "`symbol count`", line);
    }
    if (count >= threshold) vocabulary.emplace(fields[0]);
  }
  vocabulary_ = std::move(vocabulary);
  has_vocabulary_ = true;
  return absl::OkStatus();
}

int32_t BpeCodes::Intern(const std::string& symbol) {
  const auto [it, added] = numbers_.try_emplace(symbol, static_cast<int32_t>(texts_.size()));
  if (added) texts_.push_back(symbol);
  return it->second;
}

int32_t BpeCodes::Find(const std::string& symbol) const {
  const auto found = numbers_.find(symbol);
  return found == numbers_.end() ? kNone : found->second;
}

std::vector<std::string> BpeCodes::Symbols(absl::string_view word) const {
  struct Part {
    int32_t number;      // kNone: no merge has the symbol.
    size_t begin, size;  // Its bytes in `word`.
  };
  constexpr int32_t kNever = std::numeric_limits<int32_t>::max();
  std::vector<Part> parts;
  for (size_t at = 0; at < word.size();) {
    size_t size = 1;
    char32_t c = 0;
    if (ReadUtf8(word.substr(at), &size, &c) != Utf8::kCharacter) size = 1;
    std::string symbol(word.substr(at, size));
    if (at + size == word.size() && !end_is_a_symbol_) symbol += kEndOfWord;
    parts.push_back({Find(symbol), at, size});
    at += size;
  }
  if (parts.size() <= 1) return std::vector<std::string>(parts.size(), std::string(word));
  if (end_is_a_symbol_) parts.push_back({Find(kEndOfWord), word.size(), 0});

  std::vector<Merge> merges;  // merges[i]: the one of parts[i] and parts[i + 1].
  const auto merge_of = [&](size_t i) {
    if (parts[i].number == kNone || parts[i + 1].number == kNone) return Merge{kNever, kNone};
    const auto found = merges_.find(Pair(parts[i].number, parts[i + 1].number));
    return found == merges_.end() ? Merge{kNever, kNone} : found->second;
  };
  for (size_t i = 0; i + 1 < parts.size(); ++i) merges.push_back(merge_of(i));
  std::vector<size_t> changed;  // The parts that the newest merge made.
  while (!merges.empty()) {
    const Merge merge = *std::min_element(
        merges.begin(), merges.end(),
        [](const Merge& one, const Merge& other) { return one.rank < other.rank; });
    if (merge.rank == kNever) break;
    // All pairs of this merge become one symbol, from the left.
    changed.clear();
    size_t kept = 0;
    for (size_t i = 0; i < parts.size(); ++i, ++kept) {
      parts[kept] = parts[i];
      if (i + 1 < parts.size() && merges[i].rank == merge.rank) {
        parts[kept].number = merge.merged;
        parts[kept].size += parts[i + 1].size;
        changed.push_back(kept);
        ++i;
      }
      if (i < merges.size()) merges[kept] = merges[i];
    }
    parts.resize(kept);
    merges.resize(kept - 1);
    for (const size_t i : changed) {
      if (i > 0) merges[i - 1] = merge_of(i - 1);
      if (i + 1 < kept) merges[i] = merge_of(i);
    }
  }
  if (parts.back().size == 0) parts.pop_back();  // A "</w>" that stayed alone.

  std::vector<std::string> symbols;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string symbol(word.substr(parts[i].begin, parts[i].size));
    const bool last = i + 1 == parts.size();
    if (has_vocabulary_) {
      AppendKnown(symbol, last, &symbols);
    } else {
      symbols.push_back(last ? symbol : symbol + kJoiner);
    }
  }
  return symbols;
}

void BpeCodes::AppendKnown(const std::string& symbol, bool last,
                           std::vector<std::string>* symbols) const {
  // The stack holds the symbols that are still to be looked up, the next one on top.
  std::vector<std::pair<std::string, bool>> stack = {{symbol, last}};
  while (!stack.empty()) {
    auto [text, ends] = std::move(stack.back());
    stack.pop_back();
    if (text.empty()) continue;  // "</w>" was a half.
    std::string shown = ends ? text : text + kJoiner;
    const int32_t number = vocabulary_.contains(shown) ? kNone
                                                       : Find(ends ? text + kEndOfWord : text);
    const auto halves = number == kNone ? halves_.end() : halves_.find(number);
    if (halves == halves_.end()) {
      symbols->push_back(std::move(shown));
      continue;
    }
    std::string right = texts_[halves->second.second];
    if (ends) right.resize(right.size() - std::min(right.size(), sizeof(kEndOfWord) - 1));
    stack.emplace_back(std::move(right), ends);
    stack.emplace_back(texts_[halves->second.first], false);
  }
}

std::vector<std::string> BpeCodes::Pieces() const {
  std::vector<std::string> pieces;
  for (const auto& [pair, merge] : merges_) {
    absl::string_view text = texts_[merge.merged];
    const bool last = absl::ConsumeSuffix(&text, kEndOfWord);
    if (!text.empty()) pieces.push_back(absl::StrCat(text, last ? "" : kJoiner));
  }
  return pieces;
}

}  // namespace leapstream
