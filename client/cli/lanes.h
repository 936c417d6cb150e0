#ifndef LEAPSTREAM_CLIENT_CLI_LANES_H_
#define LEAPSTREAM_CLIENT_CLI_LANES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::client {

struct LanesOptions {
  int columns = 80;
  bool colour = true;
  bool typing = false;  // A line shows what is being typed, with the cursor at its end.
  bool reflows = true;  // A terminal that becomes narrower breaks its long lines into several.
};

// Draws a session for a terminal, time from left to right: the words said, the policy's actions (R:
// read a source token, W: wrote a target token), and the translation, each thing in the column of
// its moment; below them is a line of figures. Full rows stay where they are, and the next ones
// begin under them. Knows no terminal: it makes the bytes that one is to be sent. Not thread-safe.
class Lanes {
 public:
  explicit Lanes(const LanesOptions& options) : options_(options) {}

  void Source(absl::string_view word);
  void SourceEnd();  // Ends a segment.
  // `text` is appended. `source_tokens_read` has, for each of its tokens, the source tokens of the
  // segment that had been read.
  void Target(absl::string_view text, const std::vector<int>& source_tokens_read);
  void TargetEnd(std::optional<double> average_lagging);  // Ends a segment. In source tokens.
  void Note(absl::string_view line);                      // A line of its own.
  void Redraw();             // Draws again, below what others wrote meanwhile.
  void Resize(int columns);  // The rows that are open are drawn anew; full ones stay as they are.
  void Typing(absl::string_view word);  // Sets the text of the typing line.
  void Finish();                        // Called last. Leaves the cursor at the start of a line.

  // The bytes that bring a terminal from the last call to now; each changed row is written over in
  // one go, so that nothing flickers.
  std::string TakeOutput();

 private:
  struct Row {
    std::string text;
    int width = 0;
  };

  // One thing that stands in the rows. They can be laid out again from all that is in them.
  struct Thing {
    enum class Kind { kSource, kMark, kTarget };
    Kind kind = Kind::kSource;
    std::string text;
    bool of_source = false;                     // A mark: it stands in the source row.
    std::vector<std::pair<char, int>> actions;  // A target: 'R' or 'W', and how often.
  };

  int Room() const;
  void Add(Thing thing);
  void Lay(const Thing& thing);
  void LayTarget(const Thing& thing);
  void Erase();  // Takes the rows from the screen.
  void Place(Row& row, int column, absl::string_view text, absl::string_view style);
  void Mark(Row& row, absl::string_view mark);
  int Now() const;  // Column of what happens next.
  void MakeRoom(int width);
  void NewBlock();
  void LeaveFigures();  // Clears the figures, and leaves the cursor where they were.
  std::string Figures() const;
  Row Drawn(int row) const;
  absl::string_view Style(absl::string_view code) const { return options_.colour ? code : ""; }

  LanesOptions options_;
  Row source_, actions_, target_;
  std::vector<Thing> things_;  // Those in the three rows.
  Thing adding_;               // The one that is being added, or the rest of it.
  std::vector<std::string> drawn_;  // Rows on the screen, the cursor in the last one.
  std::vector<int> drawn_widths_;
  std::string typing_;
  std::string output_;

  int64_t segment_ = 1;
  int read_ = 0;     // Tokens read in the open segment.
  int written_ = 0;  // Tokens written in the open segment.
  bool finished_ = false;
  double lagging_ = 0;    // Sum over the segments that had a figure.
  int64_t measured_ = 0;  // Segments in lagging_.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_LANES_H_
