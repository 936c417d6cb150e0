#ifndef LEAPSTREAM_CLIENT_CLI_PLOT_H_
#define LEAPSTREAM_CLIENT_CLI_PLOT_H_

#include <istream>
#include <string>

#include "absl/status/statusor.h"

namespace leapstream::client {

// The READ/WRITE staircases of a recorded run as an SVG document, a segment each. `events`: what
// EventReader reads; rows are target pieces, columns source pieces. INVALID_ARGUMENT: something is
// no event (with its line), or no target token is there.
absl::StatusOr<std::string> PlotEvents(std::istream& events);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PLOT_H_
