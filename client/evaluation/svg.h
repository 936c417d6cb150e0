#ifndef LEAPSTREAM_CLIENT_EVALUATION_SVG_H_
#define LEAPSTREAM_CLIENT_EVALUATION_SVG_H_

#include <string>
#include <vector>

namespace leapstream::client {

struct CurvePoint {
  double x = 0, y = 0;
  std::string label;  // Stands beside the point; may be empty.
};

struct Curve {
  std::string name;
  std::vector<CurvePoint> points;  // Joined in this order.
};

// A chart as a whole SVG document: axes with round ticks, a grid, a legend, and the points' labels,
// where they cover as little as possible. Curves are told apart by colour and by marker. Readable
// on white, with at most four curves.
std::string ChartSvg(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<Curve>& curves);

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

// `text` with &, <, > and quotes escaped, and without the control characters that XML forbids.
std::string XmlText(const std::string& text);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_SVG_H_
