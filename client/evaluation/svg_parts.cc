#include "client/evaluation/svg_parts.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace leapstream::client {

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

std::string SvgPlace(double value) { return absl::StrFormat("%.1f", value); }

std::string SvgText(double x, double y, const std::string& attributes, const std::string& text) {
  return absl::StrCat("<text x=\"", SvgPlace(x), "\" y=\"", SvgPlace(y), "\" ", attributes, ">",
                      XmlText(text), "</text>\n");
}

std::string SvgLine(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return absl::StrCat("<line x1=\"", SvgPlace(x1), "\" y1=\"", SvgPlace(y1), "\" x2=\"",
                      SvgPlace(x2), "\" y2=\"", SvgPlace(y2), "\" ", attributes, "/>\n");
}

std::string SvgDocument(double width, double height, int font_size, const std::string& body) {
  const std::string w = SvgPlace(width), h = SvgPlace(height);
  return absl::StrCat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", w, "\" height=\"", h,
                      "\" viewBox=\"0 0 ", w, " ", h,
                      "\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"",
                      font_size,
                      "\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" "
                      "fill=\"#fff\"/>\n",
                      body, "</svg>\n");
}

}  // namespace leapstream::client
