#ifndef LEAPSTREAM_CLIENT_EVALUATION_CHART_H_
#define LEAPSTREAM_CLIENT_EVALUATION_CHART_H_

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

struct Chart {
  std::string x_label, y_label;
  std::vector<Curve> curves;
};

// Charts as a whole SVG document, in rows: axes with round ticks, a grid, and the points' labels,
// where they cover as little as possible. The legend is above all of them: curves of the same name
// have the same colour and marker in each chart. Readable on white, with at most seven names.
std::string ChartsSvg(const std::string& title, const std::vector<std::vector<Chart>>& rows);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_CHART_H_
