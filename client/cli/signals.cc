#include "client/cli/signals.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace leapstream::client::signals {
namespace {

// A signal handler may touch these five and nothing else.
std::atomic<int> interrupts{0};
std::atomic<bool> terminated{false};
std::atomic<bool> resized{false};
std::atomic<bool> continued{false};
int signal_fd = -1;  // Readable from a signal until the next Poll(); -1: poll() passes it over.

void OnSignal(int signal) {
  const int saved_errno = errno;
  if (signal == SIGTERM) terminated = true;
  if (signal == SIGWINCH) {
    resized = true;
  } else if (signal == SIGCONT) {
    continued = true;
  } else {
    ++interrupts;
  }
  WakeNextPoll();
  errno = saved_errno;
}

}  // namespace

absl::Status TakeOver() {
  signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (signal_fd < 0) return absl::InternalError("the system has no file descriptors left");
  struct sigaction action = {};
  action.sa_handler = OnSignal;  // Without SA_RESTART, so that a write to a full terminal ends.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGWINCH, &action, nullptr);
  sigaction(SIGCONT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return absl::OkStatus();
}

bool EndWanted() { return interrupts > 0; }
bool CancelWanted() { return terminated || interrupts >= 2; }
bool TakeResized() { return resized.exchange(false); }
bool TakeContinued() { return continued.exchange(false); }

absl::Status Poll(absl::Span<pollfd> fds, SteadyTime until) {
  std::vector<pollfd> all(fds.begin(), fds.end());
  all.push_back({signal_fd, POLLIN, 0});
  timespec timeout;
  const bool waits_forever = until == SteadyTime::InfiniteFuture();
  if (!waits_forever) {
    timeout = absl::ToTimespec(std::max(until - SteadyNow(), absl::ZeroDuration()));
  }
  for (pollfd& fd : fds) fd.revents = 0;
  const int ready = ppoll(all.data(), all.size(), waits_forever ? nullptr : &timeout, nullptr);
  if (ready < 0) {
    if (errno == EINTR) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
  }
  // Beside something else that is ready, a signal is left for the next call.
  uint64_t count;
  if (ready == 1 && all.back().revents != 0 && read(signal_fd, &count, sizeof(count)) < 0) {
    return absl::OkStatus();
  }
  for (size_t i = 0; i < fds.size(); ++i) fds[i].revents = all[i].revents;
  return absl::OkStatus();
}

void WakeNextPoll() {
  const uint64_t one = 1;
  // Fails only if the counter is full, and then it is readable already.
  if (write(signal_fd, &one, sizeof(one)) < 0) return;
}

}  // namespace leapstream::client::signals
