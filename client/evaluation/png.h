#ifndef LEAPSTREAM_CLIENT_EVALUATION_PNG_H_
#define LEAPSTREAM_CLIENT_EVALUATION_PNG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// Renders a whole SVG document as the bytes of a PNG, at twice its size, for screens and slides.
// INVALID_ARGUMENT: `svg` is no SVG, or is too large for a picture of pixels. Thread-safe.
absl::StatusOr<std::string> SvgToPng(absl::string_view svg);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_PNG_H_
