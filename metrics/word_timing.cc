#include "metrics/word_timing.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/scripts.h"
#include "base/utf8.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {

SourceWordEnds::SourceWordEnds(const std::vector<int>& pieces) {
  for (const int count : pieces) Add(count);
}

void SourceWordEnds::Add(int pieces) {
  words_ = std::min(words_, std::numeric_limits<int>::max() - 1) + 1;
  // A word without pieces needs no place, since it has no token.
  if (pieces > 0) ends_.push_back({tokens() + pieces, words_});
}

void SourceWordEnds::Extend(int pieces) {
  if (words_ == 0) return Add(pieces);
  if (!ends_.empty() && ends_.back().word == words_) {
    ends_.back().tokens += pieces;
  } else if (pieces > 0) {
    ends_.push_back({tokens() + pieces, words_});
  }
}

int SourceWordEnds::tokens_of_first(int words) const {
  const auto after = std::upper_bound(ends_.begin(), ends_.end(), words,
                                      [](int word, const End& end) { return word < end.word; });
  return after == ends_.begin() ? 0 : std::prev(after)->tokens;
}

int SourceWordEnds::WordsRead(int tokens) const {
  if (tokens <= 0) return 0;
  const auto end =
      std::lower_bound(ends_.begin(), ends_.end(), tokens,
                       [](const End& word, int wanted) { return word.tokens < wanted; });
  return end == ends_.end() ? words() : end->word;
}

std::vector<TimedWord> TargetWords::Append(absl::string_view text, double source_read,
                                           double elapsed) {
  std::vector<TimedWord> words;
  const auto complete = [&](absl::string_view word) {
    words.push_back({std::string(word), source_read, elapsed});
  };
  for (size_t size = 0; !text.empty(); text.remove_prefix(size)) {
    const char32_t c = FirstCodePoint(text, &size);
    const absl::string_view character = text.substr(0, size);
    if (unit_ == TargetUnit::kChar) {
      if (c != U' ') complete(character);
      continue;
    }
    const bool alone = unit_ == TargetUnit::kWordOrCharacter && IsOfScriptWithoutSpaces(c);
    if (!alone && !IsPythonSpace(c)) {
      absl::StrAppend(&open_, character);
      continue;
    }
    if (!open_.empty()) complete(open_);
    open_.clear();
    if (alone) complete(character);
  }
  return words;
}

std::vector<TimedWord> TargetWords::Finish(double source_read, double elapsed) {
  if (open_.empty()) return {};
  std::vector<TimedWord> words = {{open_, source_read, elapsed}};
  open_.clear();
  return words;
}

}  // namespace leapstream::metrics
