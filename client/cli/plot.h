#ifndef LEAPSTREAM_CLIENT_CLI_PLOT_H_
#define LEAPSTREAM_CLIENT_CLI_PLOT_H_

#include <istream>
#include <string>

#include "absl/status/statusor.h"

namespace leapstream::client {

// Returns the READ/WRITE staircases of a recorded run as an SVG document, with one for each
// segment; rows are target pieces, columns source pieces. `events` are such as EventReader reads.
// INVALID_ARGUMENT: something is no event (with its line), or no target token is there.
absl::StatusOr<std::string> PlotEvents(std::istream& events);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PLOT_H_
