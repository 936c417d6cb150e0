#ifndef LEAPSTREAM_CLIENT_CLI_TRANSLATE_FILE_H_
#define LEAPSTREAM_CLIENT_CLI_TRANSLATE_FILE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace leapstream::client {

struct TranslateFileOptions {
  TextOptions text;
  std::string input;       // A file of UTF-8 text: each line is a segment.
  std::string output;      // "": standard output.
  bool hypotheses = false;  // Writes all hypotheses of a line: see FormatLine().
};

// Translates a file line by line and writes a line for each, in order; several are under way at
// once. If the output file is there, the translation goes on after the lines that it has: a last
// line without its end is made again. A progress bar is drawn on standard error if that is a
// terminal. A signal may end the process at any time, since the output is a file to go on with.
// INVALID_ARGUMENT: the input cannot be read, or the output is no translation of it. Other errors
// are those of Client::Translate() and of the output.
absl::Status TranslateFile(Client& client, const TranslateFileOptions& options);

// Translates the lines from `first` on, several at once, and gives them to `take` in order, with
// their numbers (from 0). Draws the progress bar. Errors: those of Client::Translate() and `take`.
absl::Status TranslateLines(
    Client& client, const std::vector<std::string>& lines, size_t first, const TextOptions& options,
    absl::FunctionRef<absl::Status(size_t, const TextTranslation&)> take);

// The output of line `number` (from 1) of the input: the text; or, with `hypotheses`, a line for
// each hypothesis, "NUMBER <tab> SCORE <tab> TEXT". A line that was too long for one segment has
// its whole text with the score "nan", and so has an empty line.
std::string FormatLine(size_t number, const TextTranslation& translation, bool hypotheses);

// The part of an output file that stays: its first `bytes`, which are the output of `lines` lines.
struct DonePart {
  size_t bytes = 0;
  size_t lines = 0;
};
// Finds the part of `output` that is done. With `hypotheses` the last number's lines are made
// again, since more of them may have been to come. INVALID_ARGUMENT: with `hypotheses`, a line has
// not the form of FormatLine().
absl::StatusOr<DonePart> FindDone(absl::string_view output, bool hypotheses);

// The text of a progress bar of so many columns: "120/400 lines [#####     ] 3.1 lines/s, 1m30s
// left". `done` of `total` lines are there, of which `now` were made in `elapsed`.
struct Progress {
  size_t done = 0, total = 0, now = 0;
  absl::Duration elapsed;
};
std::string ProgressBar(const Progress& progress, size_t columns);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRANSLATE_FILE_H_
