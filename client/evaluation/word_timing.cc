#include "client/evaluation/word_timing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "metrics/unicode.h"

namespace leapstream::client {

SourceWordEnds::SourceWordEnds(const std::vector<int>& pieces) {
  int end = 0;
  for (const int count : pieces) ends_.push_back(end += count);
}

int SourceWordEnds::WordsRead(int tokens) const {
  if (tokens <= 0) return 0;
  const auto word = std::lower_bound(ends_.begin(), ends_.end(), tokens);
  return word == ends_.end() ? words() : static_cast<int>(word - ends_.begin()) + 1;
}

std::vector<TimedWord> TargetWords::Append(absl::string_view text, int source_words_read,
                                           double elapsed_seconds) {
  absl::StrAppend(&open_, text);
  std::vector<TimedWord> words;
  for (const absl::string_view word : metrics::SplitWords(open_)) {
    words.push_back({std::string(word), source_words_read, elapsed_seconds});
  }
  const bool ends_in_a_word =
      !words.empty() && metrics::StripTrailingSpace(open_).size() == open_.size();
  open_.clear();
  if (ends_in_a_word) {
    open_ = std::move(words.back().text);
    words.pop_back();
  }
  return words;
}

std::vector<TimedWord> TargetWords::Finish(int source_words_read, double elapsed_seconds) {
  return Append(" ", source_words_read, elapsed_seconds);
}

}  // namespace leapstream::client
