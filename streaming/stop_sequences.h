#ifndef LEAPSTREAM_STREAMING_STOP_SEQUENCES_H_
#define LEAPSTREAM_STREAMING_STOP_SEQUENCES_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// Cuts a text that is appended to before the first of some sequences in it. Text that may be the
// beginning of one is held until that is known, so that nothing of a sequence is ever given out.
class StopSequences {
 public:
  // None of `sequences` is empty.
  explicit StopSequences(std::vector<std::string> sequences) : sequences_(std::move(sequences)) {}

  // Appends text, and returns the text that is final.
  std::string Append(absl::string_view text) {
    if (found_) return "";
    held_.append(text.data(), text.size());
    size_t end = held_.size();
    for (const std::string& sequence : sequences_) {
      const size_t at = held_.find(sequence);
      if (at == held_.npos || at > end || (at == end && found_)) continue;
      end = at;
      found_ = true;
    }
    if (!found_) end -= Beginning();
    std::string final = held_.substr(0, end);
    held_.erase(0, end);
    return final;
  }
  // Whether a sequence was found. Append() then gives nothing any more.
  bool found() const { return found_; }
  // The text that was held, at the end of a text in which none was found.
  std::string Finish() { return found_ ? "" : std::exchange(held_, ""); }

 private:
  // The length of the longest end of held_ that is the beginning of a sequence.
  size_t Beginning() const {
    size_t longest = 0;
    for (const std::string& sequence : sequences_) {
      for (size_t n = std::min(sequence.size() - 1, held_.size()); n > longest; --n) {
        if (absl::EndsWith(held_, absl::string_view(sequence).substr(0, n))) longest = n;
      }
    }
    return longest;
  }

  const std::vector<std::string> sequences_;
  std::string held_;
  bool found_ = false;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_STOP_SEQUENCES_H_
