#ifndef LEAPSTREAM_CLIENT_EVALUATION_SVG_H_
#define LEAPSTREAM_CLIENT_EVALUATION_SVG_H_

#include <string>
#include <vector>

namespace leapstream::client {

// The READ/WRITE staircase of one segment: a column for each source unit, a row for each target
// unit, and the line of the source that had been read when each unit was written.
struct Staircase {
  std::string title;
  int source_length = 0;            // The least number of columns.
  std::vector<std::string> target;  // Labels of the rows.
  std::vector<int> delays;          // Source units read at each target unit.
};
// A whole SVG document, with the staircases one below the other.
std::string StaircaseSvg(const std::vector<Staircase>& staircases);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_SVG_H_
