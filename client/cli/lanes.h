#ifndef LEAPSTREAM_CLIENT_CLI_LANES_H_
#define LEAPSTREAM_CLIENT_CLI_LANES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::client {

struct LanesOptions {
  int columns = 80;
  bool colour = true;
  bool typing = false;  // With a line of what is being typed, the cursor at its end.
};

// Draws a session for a terminal, time from left to right: what is said, what the policy did (R:
// read a source token, W: wrote a target token), and the translation, each thing in the column of
// its moment; below them a line of figures. Full rows stay where they are, and the next ones begin
// under them. Knows no terminal: it makes the bytes that one is to be sent. Not thread-safe.
class Lanes {
 public:
  explicit Lanes(const LanesOptions& options) : options_(options) {}

  void Source(absl::string_view word);
  void SourceEnd();  // Of a segment.
  // Text to append, and how many source tokens of the segment had been read at each of its tokens.
  void Target(absl::string_view text, const std::vector<int>& source_tokens_read);
  void TargetEnd(std::optional<double> average_lagging);  // Of a segment; in source tokens.
  void Note(absl::string_view line);                      // A line of its own.
  void Redraw();                                          // Below what others wrote meanwhile.
  void Resize(int columns);  // What is drawn stays as the terminal left it; new rows begin.
  void Typing(absl::string_view word);  // What stands in that line.
  void Finish();  // Nothing follows: the cursor is left at the start of a line.

  // The bytes that bring a terminal from the last call to now; each changed row is written over in
  // one go, so that nothing flickers.
  std::string TakeOutput();

 private:
  struct Row {
    std::string text;
    int width = 0;
  };

  int Room() const;
  void Place(Row& row, int column, absl::string_view text, absl::string_view style);
  void Mark(Row& row, absl::string_view mark);
  int Now() const;  // The column of what happens next.
  void MakeRoom(int width);
  void NewBlock();
  void LeaveFigures();  // They are cleared, and the cursor is where they were.
  std::string Figures() const;
  std::string Drawn(int row) const;
  absl::string_view Style(absl::string_view code) const { return options_.colour ? code : ""; }

  LanesOptions options_;
  Row source_, actions_, target_;
  std::vector<std::string> drawn_;  // Rows on the screen, the cursor in the last one.
  std::string typing_;
  std::string output_;

  int64_t segment_ = 1;
  int read_ = 0;  // Of the open segment, in tokens.
  int written_ = 0;
  bool finished_ = false;
  double lagging_ = 0;  // Sums over the segments that had a figure.
  int64_t measured_ = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_LANES_H_
