#include "client/names.h"

#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/address.h"

namespace leapstream::client {
namespace {

using Addresses = absl::StatusOr<std::vector<std::string>>;

// A change of addresses is found within twice this time.
constexpr absl::Duration kFresh = absl::Milliseconds(900);

}  // namespace

struct Names::State {
  State(std::vector<std::string> all_hosts, AddressLookup given)
      : hosts(std::move(all_hosts)),
        lookup(given != nullptr ? std::move(given) : AddressLookup(&LookUp)),
        found(hosts.size(), absl::UnavailableError("the name is being looked up")) {}

  const std::vector<std::string> hosts;
  const AddressLookup lookup;
  Mutex mutex;
  CondVar wake;  // wanted or stopped was set.
  CondVar done;  // A round is over.
  bool wanted ABSL_GUARDED_BY(mutex) = false;
  bool running ABSL_GUARDED_BY(mutex) = false;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  SteadyTime last ABSL_GUARDED_BY(mutex) = SteadyTime::InfinitePast();  // End of the last round.
  int64_t changes ABSL_GUARDED_BY(mutex) = 0;
  std::vector<Addresses> found ABSL_GUARDED_BY(mutex);
};

Names::Names(std::vector<std::string> hosts, AddressLookup lookup)
    : state_(std::make_shared<State>(std::move(hosts), std::move(lookup))) {
  if (state_->hosts.empty()) return;
  // Detached: a name server that does not answer must not hold up the end of the process.
  std::thread([state = state_] { Run(state); }).detach();
  LookAgain();
}

Names::~Names() {
  MutexLock lock(&state_->mutex);
  state_->stopped = true;
  state_->wake.NotifyAll();
}

void Names::Run(const std::shared_ptr<State>& state) {
  while (true) {
    {
      MutexLock lock(&state->mutex);
      while (!state->wanted && !state->stopped) state->wake.Wait(&state->mutex);
      if (state->stopped) return;
      state->wanted = false;
      state->running = true;
    }
    std::vector<Addresses> found;
    for (const std::string& host : state->hosts) found.push_back(state->lookup(host));
    MutexLock lock(&state->mutex);
    for (size_t i = 0; i < found.size(); ++i) {
      Addresses& known = state->found[i];
      if (!found[i].ok() && known.ok()) continue;
      if (found[i] == known) continue;
      known = std::move(found[i]);
      ++state->changes;
    }
    state->running = false;
    state->last = SteadyNow();
    state->done.NotifyAll();
  }
}

void Names::LookAgain() {
  MutexLock lock(&state_->mutex);
  if (state_->hosts.empty() || state_->running || state_->wanted) return;
  if (SteadyNow() - state_->last < kFresh) return;
  state_->wanted = true;
  state_->wake.NotifyAll();
}

bool Names::Wait(absl::Duration timeout) {
  const SteadyTime deadline = SteadyNow() + timeout;
  MutexLock lock(&state_->mutex);
  while (state_->wanted || state_->running) {
    if (!state_->done.WaitUntil(&state_->mutex, deadline)) return false;
  }
  return true;
}

int64_t Names::changes() const {
  MutexLock lock(&state_->mutex);
  return state_->changes;
}

absl::StatusOr<std::vector<std::string>> Names::addresses(size_t host) const {
  MutexLock lock(&state_->mutex);
  return state_->found[host];
}

}  // namespace leapstream::client
