#include "client/evaluation/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

constexpr char kFont[] = "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\"";
// Okabe and Ito's colours, which colour-blind readers can tell apart.
constexpr std::array<const char*, 4> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7"};

std::string Number(double value) { return absl::StrFormat("%.6g", value); }
// A coordinate; a tenth of a pixel is enough.
std::string Place(double value) { return absl::StrFormat("%.1f", value); }

std::string Text(double x, double y, const std::string& attributes, const std::string& text) {
  return absl::StrCat("<text x=\"", Place(x), "\" y=\"", Place(y), "\" ", attributes, ">",
                      XmlText(text), "</text>\n");
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return absl::StrCat("<line x1=\"", Place(x1), "\" y1=\"", Place(y1), "\" x2=\"", Place(x2),
                      "\" y2=\"", Place(y2), "\" ", attributes, "/>\n");
}

std::string Marker(size_t kind, double x, double y) {
  const std::string fill = absl::StrCat("fill=\"", kColours[kind % kColours.size()], "\"");
  switch (kind % 3) {
    case 0:
      return absl::StrCat("<circle cx=\"", Place(x), "\" cy=\"", Place(y), "\" r=\"5\" ", fill,
                          "/>\n");
    case 1:
      return absl::StrCat("<rect x=\"", Place(x - 4.5), "\" y=\"", Place(y - 4.5),
                          "\" width=\"9\" height=\"9\" ", fill, "/>\n");
    default:
      return absl::StrCat("<path d=\"M", Place(x), " ", Place(y - 6), " l6 10 h-12 z\" ", fill,
                          "/>\n");
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

}  // namespace

std::string XmlText(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

std::string ChartSvg(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<Curve>& curves) {
  constexpr double kWidth = 720, kHeight = 480;
  constexpr double kLeft = 70, kRight = 690, kTop = 60, kBottom = 410;
  constexpr double kMarker = 6, kLabelCharacter = 8, kLabelHeight = 14;
  double x_low = HUGE_VAL, x_high = -HUGE_VAL, y_low = HUGE_VAL, y_high = -HUGE_VAL;
  for (const Curve& curve : curves) {
    for (const CurvePoint& point : curve.points) {
      x_low = std::min(x_low, point.x);
      x_high = std::max(x_high, point.x);
      y_low = std::min(y_low, point.y);
      y_high = std::max(y_high, point.y);
    }
  }
  if (x_low > x_high) x_low = x_high = y_low = y_high = 0;  // There are no points.
  const Axis x(x_low, x_high, kLeft, kRight);
  const Axis y(y_low, y_high, kBottom, kTop);

  std::string svg = absl::StrCat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", Number(kWidth), "\" height=\"",
      Number(kHeight), "\" viewBox=\"0 0 ", Number(kWidth), " ", Number(kHeight), "\" ", kFont,
      " font-size=\"13\" fill=\"#222\">\n<title>", XmlText(title),
      "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
  absl::StrAppend(&svg, Text(kLeft, 32, "font-size=\"16\" font-weight=\"bold\"", title));
  for (const double tick : x.Ticks()) {
    absl::StrAppend(&svg, Line(x.At(tick), kTop, x.At(tick), kBottom, "stroke=\"#e4e4e4\""),
                    Text(x.At(tick), kBottom + 20, "text-anchor=\"middle\"", Number(tick)));
  }
  for (const double tick : y.Ticks()) {
    absl::StrAppend(&svg, Line(kLeft, y.At(tick), kRight, y.At(tick), "stroke=\"#e4e4e4\""),
                    Text(kLeft - 9, y.At(tick) + 4.5, "text-anchor=\"end\"", Number(tick)));
  }
  absl::StrAppend(&svg, Line(kLeft, kBottom, kRight, kBottom, "stroke=\"#222\""),
                  Line(kLeft, kTop, kLeft, kBottom, "stroke=\"#222\""),
                  Text((kLeft + kRight) / 2, kBottom + 48, "text-anchor=\"middle\"", x_label));
  absl::StrAppend(&svg, "<text transform=\"translate(22 ", Place((kTop + kBottom) / 2),
                  ") rotate(-90)\" text-anchor=\"middle\">", XmlText(y_label), "</text>\n");
  Labels labels({kLeft, kTop, kRight, kBottom});
  for (size_t i = 0; i < curves.size(); ++i) {
    std::string path;
    Point last = {};
    for (const CurvePoint& point : curves[i].points) {
      const Point at = {x.At(point.x), y.At(point.y)};
      labels.AvoidLine(path.empty() ? at : last, at);
      labels.AvoidLine({at.x - kMarker, at.y}, {at.x + kMarker, at.y});
      labels.AvoidLine({at.x, at.y - kMarker}, {at.x, at.y + kMarker});
      last = at;
      absl::StrAppend(&path, path.empty() ? "" : " ", Place(at.x), ",", Place(at.y));
    }
    absl::StrAppend(&svg, "<polyline points=\"", path, "\" fill=\"none\" stroke=\"",
                    kColours[i % kColours.size()], "\" stroke-width=\"2\"/>\n");
  }
  for (size_t i = 0; i < curves.size(); ++i) {
    for (const CurvePoint& point : curves[i].points) {
      const Point at = {x.At(point.x), y.At(point.y)};
      absl::StrAppend(&svg, Marker(i, at.x, at.y));
      if (point.label.empty()) continue;
      const auto characters = static_cast<double>(metrics::CodePoints(point.label).size());
      const Point middle = labels.Place(at, characters * kLabelCharacter, kLabelHeight);
      // White goes around the label, since a line may pass there if there is no better place.
      absl::StrAppend(
          &svg,
          Text(middle.x, middle.y + 4.5,
               "font-size=\"12\" text-anchor=\"middle\" paint-order=\"stroke\" stroke=\"#fff\" "
               "stroke-width=\"4\"",
               point.label));
    }
    const double legend = kRight - 110.0 * static_cast<double>(curves.size() - i) + 20;
    absl::StrAppend(
        &svg,
        Line(legend, 46, legend + 26, 46,
             absl::StrCat("stroke-width=\"2\" stroke=\"", kColours[i % kColours.size()], "\"")),
        Marker(i, legend + 13, 46), Text(legend + 34, 50.5, "", curves[i].name));
  }
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

std::string StaircaseSvg(const std::vector<Staircase>& staircases) {
  constexpr double kCell = 22, kMargin = 16, kCharacter = 7.5, kTitle = 30, kNumbers = 22;
  const auto width_of = [](const std::string& label) {
    return static_cast<double>(metrics::CodePoints(label).size()) * kCharacter;
  };
  const std::string caption = "columns: source read; rows: target written";
  double width = kMargin * 2 + width_of(caption), top = kMargin;
  std::string body = Text(kMargin, top + 10, "fill=\"#666\"", caption);
  top += kMargin * 1.5;
  for (const Staircase& stairs : staircases) {
    int columns = std::max(stairs.source_length, 0);
    for (const int delay : stairs.delays) columns = std::max(columns, delay);
    double left = 0;
    for (const std::string& label : stairs.target) left = std::max(left, width_of(label));
    left += kMargin + 8;
    const double grid_top = top + kTitle + kNumbers;
    const double grid_right = left + columns * kCell;
    const double grid_bottom = grid_top + static_cast<double>(stairs.target.size()) * kCell;
    absl::StrAppend(&body, Text(kMargin, top + 14, "font-weight=\"bold\"", stairs.title));
    for (int i = 1; i <= columns; ++i) {
      const double x = left + i * kCell;
      absl::StrAppend(&body, Line(x, grid_top, x, grid_bottom, "stroke=\"#e4e4e4\""));
      if (i == 1 || i % 5 == 0) {
        absl::StrAppend(&body, Text(x - kCell / 2, grid_top - 7,
                                    "text-anchor=\"middle\" fill=\"#666\"", absl::StrCat(i)));
      }
    }
    // The path goes to the right for READs and downwards for WRITEs.
    double x = left;
    std::string path = absl::StrCat("M", Place(left), " ", Place(grid_top));
    for (size_t i = 0; i < stairs.target.size() && i < stairs.delays.size(); ++i) {
      const double y = grid_top + static_cast<double>(i) * kCell;
      x = std::max(x, left + std::max(stairs.delays[i], 0) * kCell);
      absl::StrAppend(&body, "<rect x=\"", Place(left), "\" y=\"", Place(y), "\" width=\"",
                      Place(x - left), "\" height=\"", Place(kCell),
                      "\" fill=\"#0072B2\" fill-opacity=\"0.12\"/>\n",
                      Line(left, y, grid_right, y, "stroke=\"#e4e4e4\""),
                      Text(left - 8, y + kCell / 2 + 4.5, "text-anchor=\"end\"", stairs.target[i]));
      absl::StrAppend(&path, " H", Place(x), " v", Place(kCell));
    }
    absl::StrAppend(&body, Line(left, grid_bottom, grid_right, grid_bottom, "stroke=\"#e4e4e4\""),
                    "<path d=\"", path,
                    "\" fill=\"none\" stroke=\"#0072B2\" stroke-width=\"2.5\"/>\n");
    width = std::max({width, grid_right + kMargin, kMargin * 2 + width_of(stairs.title) * 1.1});
    top = grid_bottom + kMargin * 1.5;
  }
  return absl::StrCat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", Place(width),
                      "\" height=\"", Place(top), "\" viewBox=\"0 0 ", Place(width), " ",
                      Place(top), "\" ", kFont,
                      " font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" "
                      "fill=\"#fff\"/>\n",
                      body, "</svg>\n");
}

}  // namespace leapstream::client
