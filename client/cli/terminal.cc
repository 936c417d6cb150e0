#include "client/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/string_view.h"

namespace leapstream::client {

bool CanDrawLanes() {
  const char* const terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) && terminal != nullptr && absl::string_view(terminal) != "dumb";
}

LanesOptions TerminalOptions() {
  LanesOptions options;
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    options.columns = size.ws_col;
  const char* const no_color = std::getenv("NO_COLOR");
  options.colour = no_color == nullptr || *no_color == '\0';
  options.reflows = std::getenv("XTERM_VERSION") == nullptr;  // xterm cuts them off.
  return options;
}

int TerminalColumns(int descriptor) {
  winsize size = {};
  if (isatty(descriptor) == 0) return 0;
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

RawInput::RawInput() {
  changed_ = tcgetattr(STDIN_FILENO, &before_) == 0;
  Apply();
}

RawInput::~RawInput() {
  if (changed_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

void RawInput::Apply() {
  if (!changed_) return;
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

}  // namespace leapstream::client
