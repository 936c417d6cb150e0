#include "server/line_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "base/clock.h"

namespace leapstream {
namespace {

constexpr int kPollMilliseconds = 1000;

// Writes all bytes. False: they cannot be written; `*partly` becomes true if some of them were.
bool WriteAll(int descriptor, const std::string& bytes, bool* partly) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = write(descriptor, bytes.data() + written, bytes.size() - written);
    if (count >= 0) {
      written += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {  // Another process made the shared descriptor non-blocking.
      pollfd ready = {descriptor, POLLOUT, 0};
      poll(&ready, 1, kPollMilliseconds);
    } else if (errno != EINTR) {
      *partly |= written > 0;  // It stays true if the line before was cut.
      return false;
    }
  }
  return true;
}

}  // namespace

struct LineWriter::State {
  State(int descriptor, size_t max_bytes, DroppedLine dropped_line)
      : descriptor(descriptor), max_bytes(max_bytes), dropped_line(std::move(dropped_line)) {}

  const int descriptor;
  const size_t max_bytes;
  const DroppedLine dropped_line;

  Mutex mutex;
  CondVar changed;  // Notified when `lines` got one, a line was dealt with, or `stop` was set.
  std::deque<std::string> lines ABSL_GUARDED_BY(mutex);
  size_t bytes ABSL_GUARDED_BY(mutex) = 0;  // The size of `lines`.
  bool writing ABSL_GUARDED_BY(mutex) = false;
  bool stop ABSL_GUARDED_BY(mutex) = false;
  bool full ABSL_GUARDED_BY(mutex) = false;  // Stays true until half of the queue is free again.
  int64_t dropped ABSL_GUARDED_BY(mutex) = 0;
  int64_t said ABSL_GUARDED_BY(mutex) = 0;  // The dropped lines that a DroppedLine has told of.
};

LineWriter::LineWriter(int descriptor, size_t max_bytes, DroppedLine dropped_line)
    : state_(std::make_shared<State>(descriptor, max_bytes, std::move(dropped_line))) {
  std::thread([state = state_] { Run(state); }).detach();
}

LineWriter::~LineWriter() {
  MutexLock lock(&state_->mutex);
  state_->stop = true;
  state_->changed.NotifyAll();
}

void LineWriter::Write(std::string line) {
  MutexLock lock(&state_->mutex);
  if (state_->bytes <= state_->max_bytes / 2) state_->full = false;
  if (state_->full || state_->bytes + line.size() > state_->max_bytes) {
    state_->full = true;
    ++state_->dropped;
    return;
  }
  // A line that tells of dropped lines comes where they are missing.
  if (state_->dropped > state_->said && !state_->lines.empty()) {
    std::string dropped = state_->dropped_line(state_->dropped - state_->said);
    state_->said = state_->dropped;
    state_->bytes += dropped.size();
    state_->lines.push_back(std::move(dropped));
  }
  state_->bytes += line.size();
  state_->lines.push_back(std::move(line));
  state_->changed.NotifyAll();
}

bool LineWriter::Flush(absl::Duration timeout) {
  const SteadyTime deadline = SteadyNow() + timeout;
  MutexLock lock(&state_->mutex);
  while (!state_->lines.empty() || state_->writing) {
    if (!state_->changed.WaitUntil(&state_->mutex, deadline)) return false;
  }
  return true;
}

int64_t LineWriter::dropped() const {
  MutexLock lock(&state_->mutex);
  return state_->dropped;
}

void LineWriter::Run(const std::shared_ptr<State>& state) {
  bool cut = false;  // True: only a part of the last line was written, without its line feed.
  while (true) {
    std::string line;
    {
      MutexLock lock(&state->mutex);
      state->writing = false;
      state->changed.NotifyAll();
      while (state->lines.empty() && !state->stop) state->changed.Wait(&state->mutex);
      if (state->lines.empty()) return;
      line = std::move(state->lines.front());
      state->lines.pop_front();
      state->bytes -= line.size();
      state->writing = true;
    }
    if (cut) line.insert(0, 1, '\n');
    const bool written = WriteAll(state->descriptor, line, &cut);
    MutexLock lock(&state->mutex);
    if (!written) {
      ++state->dropped;
      continue;
    }
    cut = false;
    if (state->lines.empty() && state->dropped > state->said) {
      std::string dropped = state->dropped_line(state->dropped - state->said);
      state->said = state->dropped;
      state->bytes += dropped.size();
      state->lines.push_back(std::move(dropped));
    }
  }
}

}  // namespace leapstream
