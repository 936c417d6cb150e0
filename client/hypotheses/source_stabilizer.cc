#include "client/hypotheses/source_stabilizer.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/scripts.h"
#include "base/utf8.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

// Most words by which the two sides of an alignment may differ in length; bounds its work.
constexpr ptrdiff_t kBand = 128;

// Marks that are content: "5%" is not "5".
bool IsContent(char32_t c) { return c == '%' || c == '#' || c == '&' || c == '@'; }

bool IsMark(char32_t c) { return metrics::IsPunctuation(c) && !IsContent(c); }

bool IsAllMarks(absl::string_view word) {
  const std::u32string characters = metrics::CodePoints(word);
  return std::all_of(characters.begin(), characters.end(), IsMark);
}

absl::string_view WithoutMarksAtEdges(absl::string_view word) {
  size_t begin = word.size(), end = 0, size = 0;
  for (size_t at = 0; at < word.size(); at += size) {
    if (IsMark(metrics::FirstCodePoint(word.substr(at), &size))) continue;
    begin = std::min(begin, at);
    end = at + size;
  }
  return begin < end ? word.substr(begin, end - begin) : word;
}

char32_t Lower(char32_t c) {
  // This locale is part of the C library, so it is always there.
  static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return utf8 == nullptr ? c : static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), utf8));
}

std::string Folded(absl::string_view word) {
  std::string folded;
  for (const char32_t c : metrics::CodePoints(WithoutMarksAtEdges(word))) {
    // Recognisers differ on the form of the apostrophe.
    AppendUtf8(c == U'\u2019' ? U'\'' : Lower(c), &folded);
  }
  return folded;
}

// Cuts a word between white space at characters of scripts without spaces. Marks stay with the part
// before them.
std::vector<absl::string_view> Parts(absl::string_view word) {
  std::vector<absl::string_view> parts;
  size_t begin = 0, size = 0;
  bool marks_only = true;  // The open part has nothing but marks.
  bool alone = false;      // The open part has a character that stands alone.
  for (size_t at = 0; at < word.size(); at += size) {
    const char32_t c = metrics::FirstCodePoint(word.substr(at), &size);
    if (IsMark(c)) continue;
    const bool unspaced = IsOfScriptWithoutSpaces(c);
    if (!marks_only && (unspaced || alone)) {
      parts.push_back(word.substr(begin, at - begin));
      begin = at;
    }
    marks_only = false;
    alone = unspaced;
  }
  parts.push_back(word.substr(begin));
  return parts;
}

bool StartsWithoutSpace(absl::string_view word) {
  size_t size = 0;
  return IsOfScriptWithoutSpaces(metrics::FirstCodePoint(word, &size));
}

bool EndsWithoutSpace(absl::string_view word) {
  const std::u32string characters = metrics::CodePoints(word);
  return IsOfScriptWithoutSpaces(characters.back());
}

}  // namespace

SourceStabilizer::SourceStabilizer(int agreement) : agreement_(static_cast<size_t>(agreement)) {
  LEAPSTREAM_CHECK(agreement >= 1 && agreement <= kMostAgreement);
}

std::vector<SourceStabilizer::Word> SourceStabilizer::Words(absl::string_view text) {
  std::vector<Word> words;
  std::string marks;  // Marks that stand apart at the beginning belong to the first word.
  int number = -1;
  for (const absl::string_view word : metrics::SplitWords(text)) {
    ++number;
    if (IsAllMarks(word)) {
      if (words.empty()) {
        absl::StrAppend(&marks, word, " ");
      } else {
        absl::StrAppend(&words.back().text, " ", word);
      }
      continue;
    }
    for (const absl::string_view part : Parts(word)) {
      words.push_back({absl::StrCat(marks, part), Folded(part), number, false});
      marks.clear();
    }
    words.back().space = true;
  }
  if (!words.empty()) {
    words.back().space = !EndsWithoutSpace(words.back().text);
  } else if (!marks.empty()) {
    marks.pop_back();  // The space.
    words.push_back({marks, "", 0, true});
  }
  return words;
}

std::string SourceStabilizer::Add(const SourceHypothesis& hypothesis) {
  ++figures_.hypotheses;
  std::vector<Word> words = Words(hypothesis.text);
  if (hypothesis.final) {
    ++figures_.finals;
    return End(words);
  }
  const auto is_same = [](const Word& a, const Word& b) { return a.folded == b.folded; };
  if (!distinct_.empty() && std::equal(distinct_.back().begin(), distinct_.back().end(),
                                       words.begin(), words.end(), is_same)) {
    distinct_.back() = std::move(words);
  } else {
    distinct_.push_back(std::move(words));
    if (distinct_.size() > agreement_) distinct_.pop_front();
  }
  const std::vector<Word>& newest = distinct_.back();
  size_t end = Agreed();
  if (end > 0) --end;
  while (end < newest.size() && newest[end].number < hypothesis.stable_words) ++end;
  // Marks without a word belong to the first word that comes.
  if (end == 1 && newest.front().folded.empty()) return "";
  return end == 0 ? "" : GiveOut(newest, Align(newest).words, end);
}

std::string SourceStabilizer::Finish() {
  if (distinct_.empty()) return "";
  const std::vector<Word> newest = std::move(distinct_.back());
  return End(newest);
}

// Returns how many of the first words all the last hypotheses agree on.
size_t SourceStabilizer::Agreed() const {
  if (distinct_.size() < agreement_) return 0;
  const std::vector<Word>& newest = distinct_.back();
  size_t agreed = newest.size();
  for (const std::vector<Word>& other : distinct_) {
    const auto is_same = [](const Word& a, const Word& b) { return a.folded == b.folded; };
    const auto differ =
        std::mismatch(newest.begin(), newest.end(), other.begin(), other.end(), is_same);
    agreed = std::min(agreed, static_cast<size_t>(differ.first - newest.begin()));
  }
  return agreed;
}

std::string SourceStabilizer::End(const std::vector<Word>& words) {
  const Place place = Align(words);
  if (place.distance > 0) {
    ++figures_.repairs;
    figures_.repaired_words += place.distance;
  }
  std::string text = GiveOut(words, place.words, words.size());
  given_.clear();
  distinct_.clear();
  return text;
}

SourceStabilizer::Place SourceStabilizer::Align(const std::vector<Word>& words) const {
  size_t same = 0;
  while (same < given_.size() && same < words.size() && given_[same] == words[same].folded) ++same;
  if (same == given_.size()) return {same, 0};
  // Rows are what was given out, columns the words of the hypothesis, both behind the common
  // beginning. A cell has the distance of the two beginnings, then the negative number of equal
  // words. Of row i the columns from i - kBand to i + kBand are computed.
  using Cell = std::pair<int64_t, int64_t>;
  constexpr Cell kNever = {std::numeric_limits<int32_t>::max(), 0};
  const auto rows = static_cast<ptrdiff_t>(given_.size() - same);
  const auto columns = static_cast<ptrdiff_t>(words.size() - same);
  constexpr ptrdiff_t kWidth = 2 * kBand + 1;
  std::vector<Cell> above(kWidth + 1, kNever), row(kWidth + 1, kNever);
  for (ptrdiff_t i = 0; i <= rows; ++i) {
    for (ptrdiff_t at = 0; at < kWidth; ++at) {
      const ptrdiff_t j = i - kBand + at;
      Cell best = kNever;
      if (i == 0 && j == 0) best = {0, 0};
      if (j >= 0 && j <= columns) {
        if (i > 0 &&
            j > 0) {  // The cell above and to the left stands at the same place of its row.
          const bool equal = given_[same + i - 1] == words[same + j - 1].folded;
          best = std::min(best,
                          {above[at].first + (equal ? 0 : 1), above[at].second - (equal ? 1 : 0)});
        }
        if (i > 0) best = std::min(best, {above[at + 1].first + 1, above[at + 1].second});
        if (j > 0 && at > 0) best = std::min(best, {row[at - 1].first + 1, row[at - 1].second});
      }
      row[at] = best;
    }
    std::swap(above, row);
  }
  // The place is the best cell of the last row.
  std::tuple<Cell, ptrdiff_t, ptrdiff_t> best = {kNever, 0, columns};
  for (ptrdiff_t at = 0; at < kWidth; ++at) {
    const ptrdiff_t j = rows - kBand + at;
    if (j < 0 || j > columns) continue;
    best = std::min(best, {above[at], std::abs(j - rows), j});
  }
  const auto& [cell, difference, j] = best;
  if (cell == kNever) return {words.size(), rows - columns};  // The hypothesis is far too short.
  return {same + static_cast<size_t>(j), cell.first};
}

std::string SourceStabilizer::GiveOut(const std::vector<Word>& words, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) {
    // The text that was given out last may come from another hypothesis, which had no space there.
    const bool space = i > 0 ? words[i - 1].space : !StartsWithoutSpace(words[i].text);
    absl::StrAppend(&text, within_word_ && space ? " " : "", words[i].text,
                    words[i].space ? " " : "");
    within_word_ = !words[i].space;
    given_.push_back(words[i].folded);
    ++figures_.words;
  }
  return text;
}

}  // namespace leapstream::client
