#include "metrics/word_timing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {

SourceWordEnds::SourceWordEnds(const std::vector<int>& pieces) {
  for (const int count : pieces) Add(count);
}

void SourceWordEnds::Add(int pieces) { ends_.push_back(tokens() + pieces); }

int SourceWordEnds::WordsRead(int tokens) const {
  if (tokens <= 0) return 0;
  const auto word = std::lower_bound(ends_.begin(), ends_.end(), tokens);
  return word == ends_.end() ? words() : static_cast<int>(word - ends_.begin()) + 1;
}

std::vector<TimedWord> TargetWords::Append(absl::string_view text, double source_read,
                                           double elapsed) {
  absl::StrAppend(&open_, text);
  std::vector<TimedWord> words;
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
