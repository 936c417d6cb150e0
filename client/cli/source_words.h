#ifndef LEAPSTREAM_CLIENT_CLI_SOURCE_WORDS_H_
#define LEAPSTREAM_CLIENT_CLI_SOURCE_WORDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// The next item to send: text, then possibly the end of its segment.
struct SourceItem {
  std::string text;  // A word and one space; at a line's end without the space; "": no text.
  bool ends_line = false;
};

// Cuts a byte stream into words, and its lines into segments. A word is complete once white space,
// a line feed or the end of the input follows; nothing is given out before that, except for the
// start of a word of more than 64 KiB. A byte order mark at the start is left out. Not thread-safe.
class SourceWords {
 public:
  // Adds the items that `bytes` completed to `items`. INVALID_ARGUMENT: not UTF-8; the message has
  // line and byte. The items before the bad word were then added, and nothing more may be appended.
  absl::Status Append(absl::string_view bytes, std::vector<SourceItem>& items);
  // Ends the input: a last line without a line feed is complete. The errors are those of Append().
  absl::Status Finish(std::vector<SourceItem>& items);

 private:
  absl::Status TakeWord(size_t size, absl::string_view after, std::vector<SourceItem>& items);

  std::string pending_;  // Bytes not given out yet; between calls they hold no complete word.
  bool line_has_words_ = false;
  int64_t line_ = 1;
  int64_t offset_ = 0;  // Offset of pending_ in the input.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SOURCE_WORDS_H_
