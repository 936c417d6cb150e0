#ifndef LEAPSTREAM_CLIENT_CLI_TERMINAL_H_
#define LEAPSTREAM_CLIENT_CLI_TERMINAL_H_

#include "client/cli/lanes.h"

namespace leapstream::client {

// Whether standard output is a terminal that lanes can be drawn on.
bool CanDrawLanes();
// Its width, and colours unless $NO_COLOR says otherwise (no-color.org).
LanesOptions TerminalOptions();

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TERMINAL_H_
