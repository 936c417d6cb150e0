#ifndef LEAPSTREAM_CLIENT_CLI_EVALUATION_REPORT_H_
#define LEAPSTREAM_CLIENT_CLI_EVALUATION_REPORT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/evaluation/instance.h"
#include "client/policy.h"

namespace leapstream::client {

// The scores of one policy on the test set.
struct PolicyScores {
  Policy policy;
  Scores scores;
  double seconds = 0;
};

// The name of a policy's folder: its text with nothing that a shell or a file system minds, such as
// "k3" and "la2+read-words-3".
std::string FolderName(const Policy& policy);

// scores.tsv: a row for each policy, the columns of `metrics` (see ScoreNames()).
std::string ScoresTsv(absl::Span<const PolicyScores> rows, size_t sentences,
                      const std::vector<std::string>& metrics);

// A table of Markdown: a row for each policy, with the columns that papers show.
std::string ScoresTable(absl::Span<const PolicyScores> rows,
                        const std::vector<std::string>& metrics);

// The picture: BLEU and chrF over AL, LAAL, and LAAL with the time of computation. A curve is a
// rule, a point is one policy, labelled with the numbers that tell it from the others.
std::string ScoresPicture(absl::Span<const PolicyScores> rows, const std::string& source_name,
                          bool speech);

// A line that says how far a run is: with a bar, if `columns` of a terminal leave room for one, and
// never so wide that it would begin another line. `done` is 1 at least.
std::string ProgressText(absl::string_view name, int done, int total, double seconds_left,
                         int columns);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVALUATION_REPORT_H_
