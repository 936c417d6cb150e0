#ifndef LEAPSTREAM_CLIENT_CLI_TERMINAL_H_
#define LEAPSTREAM_CLIENT_CLI_TERMINAL_H_

#include <termios.h>

#include "client/cli/lanes.h"

namespace leapstream::client {

// Whether standard output is a terminal that lanes can be drawn on.
bool CanDrawLanes();
// The width of the terminal that a descriptor is open as; 0: it is none.
int TerminalColumns(int descriptor);
// The terminal's width, and colours unless $NO_COLOR says otherwise (no-color.org).
LanesOptions TerminalOptions();

// While it lives, the terminal of standard input hands on each key at once and shows none, so that
// the program can show them. Signals still come from the terminal (Ctrl-C).
class RawInput {
 public:
  RawInput();
  ~RawInput();  // Restores the earlier settings.
  RawInput(const RawInput&) = delete;
  RawInput& operator=(const RawInput&) = delete;

  void Apply();  // Sets it again: a shell that had stopped the program has set its own.

 private:
  termios before_ = {};
  bool changed_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TERMINAL_H_
