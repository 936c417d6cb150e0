#ifndef LEAPSTREAM_CLIENT_CLI_SIGNALS_H_
#define LEAPSTREAM_CLIENT_CLI_SIGNALS_H_

#include <poll.h>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/clock.h"

// The signals of this process, as `leapstream translate` takes them. SIGINT ends the input, and a
// second SIGINT or a SIGTERM the run; SIGWINCH and SIGCONT change the terminal. Only one thread may
// call these functions.
namespace leapstream::client::signals {

// Takes the signals over for the rest of the process; called once, and before anything is waited
// for. SIGPIPE is ignored. INTERNAL: the system has no file descriptors left.
absl::Status TakeOver();

bool EndWanted();      // The input is to end: a SIGINT or SIGTERM has come.
bool CancelWanted();   // The run is to end: two SIGINTs have come, or a SIGTERM.
bool TakeResized();    // Whether the terminal's size has changed since the last call.
bool TakeContinued();  // Whether the process was stopped and continued since the last call.

// Waits until one of `fds` is ready, a signal comes, or it is `until`. After the latter two every
// `revents` is 0. A signal that came before this call ends the wait at once. INTERNAL: the system
// refused to wait.
absl::Status Poll(absl::Span<pollfd> fds, SteadyTime until);

// Ends the next Poll() at once. A wait that a signal ended, but that goes on by itself, passes the
// signal on by this.
void WakeNextPoll();

}  // namespace leapstream::client::signals

#endif  // LEAPSTREAM_CLIENT_CLI_SIGNALS_H_
