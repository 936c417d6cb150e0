#include "client/names.h"

#include <algorithm>
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
  struct Host {
    std::string name;
    Addresses found = absl::UnavailableError("the name is being looked up");
    bool wanted = false;
    bool running = false;
    SteadyTime begun = SteadyTime::InfinitePast();  // When its lookup was last wanted…
    SteadyTime last = SteadyTime::InfinitePast();   // …and last over.
  };

  State(const std::vector<std::string>& names, AddressLookup given)
      : lookup(given != nullptr ? std::move(given) : AddressLookup(&LookUp)), hosts(names.size()) {
    for (size_t i = 0; i < names.size(); ++i) hosts[i].name = names[i];
  }

  const AddressLookup lookup;
  mutable Mutex mutex;
  CondVar wake;  // Some `wanted`, or stopped, was set.
  CondVar done;  // A lookup is over.
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  int64_t changes ABSL_GUARDED_BY(mutex) = 0;
  std::vector<Host> hosts ABSL_GUARDED_BY(mutex);
};

Names::Names(const std::vector<std::string>& hosts, AddressLookup lookup)
    : state_(std::make_shared<State>(hosts, std::move(lookup))) {
  // Detached: a name server that does not answer must not hold up the end of the process.
  for (size_t i = 0; i < hosts.size(); ++i) {
    std::thread([state = state_, i] { Run(state, i); }).detach();
  }
  LookAgain();
}

Names::~Names() {
  MutexLock lock(&state_->mutex);
  state_->stopped = true;
  state_->wake.NotifyAll();
}

void Names::Run(const std::shared_ptr<State>& state, size_t number) {
  while (true) {
    std::string name;
    {
      MutexLock lock(&state->mutex);
      State::Host& host = state->hosts[number];
      while (!host.wanted && !state->stopped) state->wake.Wait(&state->mutex);
      if (state->stopped) return;
      host.wanted = false;
      host.running = true;
      name = host.name;
    }
    Addresses found = state->lookup(name);
    if (found.ok() && found->empty()) found = absl::UnavailableError("the name has no address");
    MutexLock lock(&state->mutex);
    State::Host& host = state->hosts[number];
    if ((found.ok() || !host.found.ok()) && found != host.found) {
      host.found = std::move(found);
      ++state->changes;
    }
    host.running = false;
    host.last = SteadyNow();
    state->done.NotifyAll();
  }
}

void Names::LookAgain() {
  MutexLock lock(&state_->mutex);
  const SteadyTime now = SteadyNow();
  for (State::Host& host : state_->hosts) {
    if (host.running || host.wanted || now - host.last < kFresh) continue;
    host.wanted = true;
    host.begun = now;
  }
  state_->wake.NotifyAll();
}

void Names::Wait(absl::Duration patience) {
  MutexLock lock(&state_->mutex);
  while (true) {
    const SteadyTime now = SteadyNow();
    SteadyTime until = SteadyTime::InfinitePast();
    for (const State::Host& host : state_->hosts) {
      if (host.wanted || host.running) until = std::max(until, host.begun + patience);
    }
    if (until <= now) return;
    state_->done.WaitUntil(&state_->mutex, until);
  }
}

bool Names::WaitForFirst(SteadyTime deadline) {
  MutexLock lock(&state_->mutex);
  const auto none = [](const State::Host& host) { return host.last == SteadyTime::InfinitePast(); };
  while (std::any_of(state_->hosts.begin(), state_->hosts.end(), none)) {
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
  return state_->hosts[host].found;
}

}  // namespace leapstream::client
