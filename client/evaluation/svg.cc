#include "client/evaluation/svg.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "client/evaluation/svg_parts.h"
#include "metrics/unicode.h"

namespace leapstream::client {

std::string StaircaseSvg(const std::vector<Staircase>& staircases) {
  constexpr double kCell = 22, kMargin = 16, kCharacter = 7.5, kTitle = 30, kNumbers = 22;
  const auto width_of = [](const std::string& label) {
    return static_cast<double>(metrics::CodePoints(label).size()) * kCharacter;
  };
  const std::string caption = "columns: source read; rows: target written";
  double width = kMargin * 2 + width_of(caption), top = kMargin;
  std::string body = SvgText(kMargin, top + 10, "fill=\"#666\"", caption);
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
    absl::StrAppend(&body, SvgText(kMargin, top + 14, "font-weight=\"bold\"", stairs.title));
    for (int i = 1; i <= columns; ++i) {
      const double x = left + i * kCell;
      absl::StrAppend(&body, SvgLine(x, grid_top, x, grid_bottom, "stroke=\"#e4e4e4\""));
      if (i == 1 || i % 5 == 0) {
        absl::StrAppend(&body, SvgText(x - kCell / 2, grid_top - 7,
                                       "text-anchor=\"middle\" fill=\"#666\"", absl::StrCat(i)));
      }
    }
    // The path goes to the right for READs and downwards for WRITEs.
    double x = left;
    std::string path = absl::StrCat("M", SvgPlace(left), " ", SvgPlace(grid_top));
    for (size_t i = 0; i < stairs.target.size() && i < stairs.delays.size(); ++i) {
      const double y = grid_top + static_cast<double>(i) * kCell;
      x = std::max(x, left + std::max(stairs.delays[i], 0) * kCell);
      absl::StrAppend(&body, "<rect x=\"", SvgPlace(left), "\" y=\"", SvgPlace(y), "\" width=\"",
                      SvgPlace(x - left), "\" height=\"", SvgPlace(kCell),
                      "\" fill=\"#0072B2\" fill-opacity=\"0.12\"/>\n",
                      SvgLine(left, y, grid_right, y, "stroke=\"#e4e4e4\""),
                      SvgText(left - 8, y + kCell / 2 + 4.5, "text-anchor=\"end\"",
                              stairs.target[i]));
      absl::StrAppend(&path, " H", SvgPlace(x), " v", SvgPlace(kCell));
    }
    absl::StrAppend(&body,
                    SvgLine(left, grid_bottom, grid_right, grid_bottom, "stroke=\"#e4e4e4\""),
                    "<path d=\"", path,
                    "\" fill=\"none\" stroke=\"#0072B2\" stroke-width=\"2.5\"/>\n");
    width = std::max({width, grid_right + kMargin, kMargin * 2 + width_of(stairs.title) * 1.1});
    top = grid_bottom + kMargin * 1.5;
  }
  return SvgDocument(width, top, 12, body);
}

}  // namespace leapstream::client
