#include "client/evaluation/png.h"

#include <cairo.h>
#include <librsvg/rsvg.h>

#include <cmath>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"

namespace leapstream::client {
namespace {

constexpr double kScale = 2;
constexpr double kMaxPixels = 32767;  // Largest side, a limit of cairo.

absl::Status Refused(absl::string_view what, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("cannot make a PNG, ", what, ": ", why));
}

cairo_status_t Append(void* png, const unsigned char* bytes, unsigned int size) {
  static_cast<std::string*>(png)->append(reinterpret_cast<const char*>(bytes), size);
  return CAIRO_STATUS_SUCCESS;
}

}  // namespace

absl::StatusOr<std::string> SvgToPng(absl::string_view svg) {
  GError* raw_error = nullptr;
  const std::unique_ptr<RsvgHandle, void (*)(void*)> image(
      rsvg_handle_new_from_data(reinterpret_cast<const uint8_t*>(svg.data()), svg.size(),
                                &raw_error),
      g_object_unref);
  std::unique_ptr<GError, void (*)(GError*)> error(raw_error, g_error_free);
  if (image == nullptr) return Refused("want an SVG", error->message);
  double width = 0, height = 0;
  if (!rsvg_handle_get_intrinsic_size_in_pixels(image.get(), &width, &height) || width <= 0 ||
      height <= 0 || width * kScale > kMaxPixels || height * kScale > kMaxPixels) {
    return absl::InvalidArgumentError(absl::StrCat("want a picture of up to ", kMaxPixels / kScale,
                                                   " pixels a side for PNG, got ", width, " x ",
                                                   height, "; write SVG"));
  }
  const std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(width * kScale)),
                                 static_cast<int>(std::ceil(height * kScale))),
      cairo_surface_destroy);
  const std::unique_ptr<cairo_t, void (*)(cairo_t*)> canvas(cairo_create(surface.get()),
                                                            cairo_destroy);
  const RsvgRectangle whole = {0, 0, width * kScale, height * kScale};
  raw_error = nullptr;
  if (!rsvg_handle_render_document(image.get(), canvas.get(), &whole, &raw_error)) {
    error.reset(raw_error);
    return Refused("drawing fails", error->message);
  }
  std::string png;
  const cairo_status_t status = cairo_surface_write_to_png_stream(surface.get(), Append, &png);
  if (status != CAIRO_STATUS_SUCCESS) {
    return absl::InternalError(absl::StrCat("cannot make a PNG: ", cairo_status_to_string(status)));
  }
  return png;
}

}  // namespace leapstream::client
