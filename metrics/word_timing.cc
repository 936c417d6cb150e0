#include "metrics/word_timing.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {

SourceWordEnds::SourceWordEnds(const std::vector<int>& pieces) {
  for (const int count : pieces) Add(count);
}

void SourceWordEnds::Add(int pieces) {
  words_ = std::min(words_, std::numeric_limits<int>::max() - 1) + 1;
  // A word without pieces needs no place: no token is its own.
  if (pieces > 0) ends_.push_back({tokens() + pieces, words_});
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
  const std::vector<absl::string_view> added = SplitWords(text);
  absl::StrAppend(&open_, text);
  // Text without white space ends no word, and is looked at once.
  if (text.empty() || (added.size() == 1 && added[0].size() == text.size())) return words;
  for (const absl::string_view word : SplitWords(open_)) {
    words.push_back({std::string(word), source_read, elapsed});
  }
  const bool ends_in_a_word = !words.empty() && StripTrailingSpace(open_).size() == open_.size();
  open_.clear();
  if (ends_in_a_word) {
    open_ = std::move(words.back().text);
    words.pop_back();
  }
  return words;
}

std::vector<TimedWord> TargetWords::Finish(double source_read, double elapsed) {
  return Append(" ", source_read, elapsed);
}

}  // namespace leapstream::metrics
