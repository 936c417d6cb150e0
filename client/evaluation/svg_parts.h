#ifndef LEAPSTREAM_CLIENT_EVALUATION_SVG_PARTS_H_
#define LEAPSTREAM_CLIENT_EVALUATION_SVG_PARTS_H_

#include <string>

// The parts that pictures are made of. Coordinates are pixels; a tenth of one is enough.
namespace leapstream::client {

// `text` with &, <, > and quotes escaped, and without the control characters that XML forbids.
std::string XmlText(const std::string& text);

std::string SvgPlace(double value);  // A coordinate as text.
std::string SvgText(double x, double y, const std::string& attributes, const std::string& text);
std::string SvgLine(double x1, double y1, double x2, double y2, const std::string& attributes);

// A whole document on white.
std::string SvgDocument(double width, double height, int font_size, const std::string& body);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_SVG_PARTS_H_
