#include "client/evaluation/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/evaluation/svg_parts.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

// The places within a chart, and those of what is above all charts.
constexpr double kChartWidth = 720, kChartHeight = 420, kHeader = 60;
constexpr double kLeft = 70, kRight = 690, kTop = 8, kBottom = 358;
constexpr double kMarker = 6, kLabelCharacter = 8, kLabelHeight = 14;
constexpr double kLegendBegins = 46, kLegendCharacter = 8;

// Okabe and Ito's colours, which colour-blind readers can tell apart.
constexpr std::array<const char*, 7> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                 "#E69F00", "#56B4E9", "#222222"};

std::string Number(double value) { return absl::StrFormat("%.6g", value); }

std::string Colour(size_t kind) { return kColours[kind % kColours.size()]; }

std::string Marker(size_t kind, double x, double y) {
  const std::string fill = absl::StrCat("fill=\"", Colour(kind), "\"");
  switch (kind % 3) {
    case 0:
      return absl::StrCat("<circle cx=\"", SvgPlace(x), "\" cy=\"", SvgPlace(y), "\" r=\"5\" ",
                          fill, "/>\n");
    case 1:
      return absl::StrCat("<rect x=\"", SvgPlace(x - 4.5), "\" y=\"", SvgPlace(y - 4.5),
                          "\" width=\"9\" height=\"9\" ", fill, "/>\n");
    default:
      return absl::StrCat("<path d=\"M", SvgPlace(x), " ", SvgPlace(y - 6), " l6 10 h-12 z\" ",
                          fill, "/>\n");
  }
}

struct Point {
  double x, y;
};

struct Box {
  double left, top, right, bottom;
  bool Holds(const Point& p) const {
    return p.x >= left && p.x <= right && p.y >= top && p.y <= bottom;
  }
};

// Puts labels beside their points, where they cover as little as possible of the drawing.
class Labels {
 public:
  explicit Labels(Box chart) : chart_(chart) {}

  void Avoid(const Point& p) { drawn_.push_back(p); }
  void AvoidLine(const Point& a, const Point& b) {
    const int steps = 1 + static_cast<int>(std::hypot(b.x - a.x, b.y - a.y) / kStep);
    for (int i = 0; i <= steps; ++i) {
      const double part = static_cast<double>(i) / steps;
      Avoid({a.x + (b.x - a.x) * part, a.y + (b.y - a.y) * part});
    }
  }
  // The middle of a label of this size for the marker at `point`. Later labels keep away from it.
  Point Place(const Point& point, double width, double height) {
    Box best = {};
    int best_cost = -1;
    for (const double distance : {10.0, 18.0, 28.0}) {
      for (int turn = 0; turn < 8; ++turn) {
        const double angle = kFirstTurn + turn * kEighth;
        // The box touches a circle around the point.
        const double x = point.x + std::cos(angle) * (distance + width / 2);
        const double y = point.y + std::sin(angle) * (distance + height / 2);
        const Box box = {x - width / 2, y - height / 2, x + width / 2, y + height / 2};
        if (box.left < chart_.left || box.right > chart_.right || box.top < chart_.top ||
            box.bottom > chart_.bottom) {
          continue;
        }
        const auto cost = static_cast<int>(std::count_if(
            drawn_.begin(), drawn_.end(), [&](const Point& p) { return box.Holds(p); }));
        if (best_cost < 0 || cost < best_cost) {
          best = box;
          best_cost = cost;
        }
      }
    }
    if (best_cost < 0) return point;  // The chart is smaller than the label.
    for (double y = best.top; y <= best.bottom; y += kStep) {
      AvoidLine({best.left, y}, {best.right, y});
    }
    return {(best.left + best.right) / 2, (best.top + best.bottom) / 2};
  }

 private:
  static constexpr double kStep = 3;
  static constexpr double kEighth = 0.7853981633974483;
  static constexpr double kFirstTurn = -3 * kEighth;  // Up and to the left.

  const Box chart_;
  std::vector<Point> drawn_;  // Lines and areas as points kStep apart.
};

// One axis: a round range around the values, and the places of its ticks.
class Axis {
 public:
  Axis(double low, double high, double from, double to) : from_(from), to_(to) {
    if (!(high > low)) {
      low -= 1;
      high += 1;
    }
    const double rough = (high - low) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    step_ = power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
    low_ = std::floor(low / step_ - 0.25) * step_;
    high_ = std::ceil(high / step_ + 0.25) * step_;
    if (low >= 0) low_ = std::max(low_, 0.0);
  }
  double At(double value) const { return from_ + (value - low_) / (high_ - low_) * (to_ - from_); }
  std::vector<double> Ticks() const {
    std::vector<double> ticks;
    const int count = static_cast<int>(std::lround((high_ - low_) / step_));
    for (int i = 0; i <= count; ++i) ticks.push_back(low_ + i * step_);
    return ticks;
  }

 private:
  double from_, to_, low_, high_, step_;
};


using Names = std::vector<std::string>;

size_t KindOf(const Names& names, const std::string& name) {
  return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

// The names of all curves, each once, in the order of their first places.
Names NamesOf(const std::vector<std::vector<Chart>>& rows) {
  Names names;
  for (const std::vector<Chart>& row : rows) {
    for (const Chart& chart : row) {
      for (const Curve& curve : chart.curves) {
        if (KindOf(names, curve.name) == names.size()) names.push_back(curve.name);
      }
    }
  }
  return names;
}

// One chart, with its own corner as the origin.
class ChartBody {
 public:
  ChartBody(const Chart& chart, const Names& names)
      : chart_(chart),
        names_(names),
        x_(AxisOf(chart, &CurvePoint::x, kLeft, kRight)),
        y_(AxisOf(chart, &CurvePoint::y, kBottom, kTop)) {}

  std::string Draw() {
    DrawAxes();
    for (const Curve& curve : chart_.curves) DrawCurve(curve);
    for (const Curve& curve : chart_.curves) DrawPoints(curve);
    return svg_;
  }

 private:
  static Axis AxisOf(const Chart& chart, double CurvePoint::*value, double from, double to) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (const Curve& curve : chart.curves) {
      for (const CurvePoint& point : curve.points) {
        low = std::min(low, point.*value);
        high = std::max(high, point.*value);
      }
    }
    if (low > high) low = high = 0;  // There are no points.
    return Axis(low, high, from, to);
  }

  void DrawAxes() {
    for (const double tick : x_.Ticks()) {
      absl::StrAppend(
          &svg_, SvgLine(x_.At(tick), kTop, x_.At(tick), kBottom, "stroke=\"#e4e4e4\""),
          SvgText(x_.At(tick), kBottom + 20, "text-anchor=\"middle\"", Number(tick)));
    }
    for (const double tick : y_.Ticks()) {
      absl::StrAppend(&svg_,
                      SvgLine(kLeft, y_.At(tick), kRight, y_.At(tick), "stroke=\"#e4e4e4\""),
                      SvgText(kLeft - 9, y_.At(tick) + 4.5, "text-anchor=\"end\"", Number(tick)));
    }
    absl::StrAppend(
        &svg_, SvgLine(kLeft, kBottom, kRight, kBottom, "stroke=\"#222\""),
        SvgLine(kLeft, kTop, kLeft, kBottom, "stroke=\"#222\""),
        SvgText((kLeft + kRight) / 2, kBottom + 48, "text-anchor=\"middle\"", chart_.x_label),
        "<text transform=\"translate(22 ", SvgPlace((kTop + kBottom) / 2),
        ") rotate(-90)\" text-anchor=\"middle\">", XmlText(chart_.y_label), "</text>\n");
  }

  void DrawCurve(const Curve& curve) {
    std::string path;
    Point last = {};
    for (const CurvePoint& point : curve.points) {
      const Point at = {x_.At(point.x), y_.At(point.y)};
      labels_.AvoidLine(path.empty() ? at : last, at);
      labels_.AvoidLine({at.x - kMarker, at.y}, {at.x + kMarker, at.y});
      labels_.AvoidLine({at.x, at.y - kMarker}, {at.x, at.y + kMarker});
      last = at;
      absl::StrAppend(&path, path.empty() ? "" : " ", SvgPlace(at.x), ",", SvgPlace(at.y));
    }
    absl::StrAppend(&svg_, "<polyline points=\"", path, "\" fill=\"none\" stroke=\"",
                    Colour(KindOf(names_, curve.name)), "\" stroke-width=\"2\"/>\n");
  }

  void DrawPoints(const Curve& curve) {
    for (const CurvePoint& point : curve.points) {
      const Point at = {x_.At(point.x), y_.At(point.y)};
      svg_ += Marker(KindOf(names_, curve.name), at.x, at.y);
      if (point.label.empty()) continue;
      const auto characters = static_cast<double>(metrics::CodePoints(point.label).size());
      const Point middle = labels_.Place(at, characters * kLabelCharacter, kLabelHeight);
      // White goes around the label, since a line may pass there if there is no better place.
      absl::StrAppend(
          &svg_,
          SvgText(middle.x, middle.y + 4.5,
                  "font-size=\"12\" text-anchor=\"middle\" paint-order=\"stroke\" "
                  "stroke=\"#fff\" stroke-width=\"4\"",
                  point.label));
    }
  }

  const Chart& chart_;
  const Names& names_;
  const Axis x_, y_;
  Labels labels_{{kLeft, kTop, kRight, kBottom}};
  std::string svg_;
};

// The legend, which ends at the right of the charts.
std::string Legend(const Names& names, double right) {
  std::string svg;
  for (size_t i = names.size(); i-- > 0;) {
    right -= 50 + static_cast<double>(metrics::CodePoints(names[i]).size()) * kLegendCharacter;
    absl::StrAppend(
        &svg,
        SvgLine(right, kLegendBegins, right + 26, kLegendBegins,
                absl::StrCat("stroke-width=\"2\" stroke=\"", Colour(i), "\"")),
        Marker(i, right + 13, kLegendBegins),
        SvgText(right + 34, kLegendBegins + 4.5, "", names[i]));
  }
  return svg;
}

}  // namespace

std::string ChartsSvg(const std::string& title, const std::vector<std::vector<Chart>>& rows) {
  const Names names = NamesOf(rows);
  size_t columns = 1;
  for (const std::vector<Chart>& row : rows) columns = std::max(columns, row.size());
  const double width = kChartWidth * static_cast<double>(columns);
  std::string body = absl::StrCat(
      "<title>", XmlText(title), "</title>\n",
      SvgText(kLeft, 32, "font-size=\"16\" font-weight=\"bold\"", title),
      Legend(names, width - kChartWidth + kRight));
  double top = kHeader;
  for (const std::vector<Chart>& row : rows) {
    double left = 0;
    for (const Chart& chart : row) {
      absl::StrAppend(&body, "<g transform=\"translate(", SvgPlace(left), " ", SvgPlace(top),
                      ")\">\n", ChartBody(chart, names).Draw(), "</g>\n");
      left += kChartWidth;
    }
    top += kChartHeight;
  }
  return SvgDocument(width, top, 13, body);
}

}  // namespace leapstream::client
