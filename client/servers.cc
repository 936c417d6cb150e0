#include "client/servers.h"

#include <algorithm>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);  // Of several channels.

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  // A server may be starting, or starting again: gRPC's own first pause is a second, growing to two
  // minutes, and it waits twenty seconds for a machine that does not answer.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3000);
  // A machine or network that is gone says nothing; only a ping finds out.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  return arguments;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Servers>> Servers::Create(absl::string_view addresses) {
  std::shared_ptr<Servers> servers(new Servers());
  for (absl::string_view address : absl::StrSplit(addresses, ',')) {
    address = absl::StripAsciiWhitespace(address);
    if (address.empty()) continue;
    Server& server = servers->servers_.emplace_back();
    server.address = std::string(address);
    server.channel =
        grpc::CreateCustomChannel(server.address, grpc::InsecureChannelCredentials(), Arguments());
    server.stub = v1::SimultaneousTranslationService::NewStub(server.channel);
  }
  if (servers->servers_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want the address of a server, such as localhost:50051, got \"", addresses, "\""));
  }
  // So that many clients do not begin with the same one.
  absl::BitGen random;
  servers->next_ = absl::Uniform<size_t>(random, 0, servers->size());
  return servers;
}

std::string Servers::addresses() const {
  return absl::StrJoin(servers_, ", ", [](std::string* out, const Server& server) {
    absl::StrAppend(out, server.address);
  });
}

size_t Servers::Next() {
  const size_t turn = next_++;
  for (size_t i = 0; i < size(); ++i) {
    const size_t index = (turn + i) % size();
    if (servers_[index].channel->GetState(/*try_to_connect=*/true) !=
        GRPC_CHANNEL_TRANSIENT_FAILURE) {
      return index;
    }
  }
  return turn % size();
}

absl::Status Servers::WaitUntilConnected(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  std::vector<bool> refused(size());  // One refusal is enough here.
  while (true) {
    const Server* pending = nullptr;
    auto pending_state = GRPC_CHANNEL_IDLE;
    for (size_t i = 0; i < size(); ++i) {
      const auto state = servers_[i].channel->GetState(/*try_to_connect=*/true);
      if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
        refused[i] = true;
      } else if (!refused[i]) {
        pending = &servers_[i];
        pending_state = state;
      }
    }
    if (pending == nullptr) {
      return absl::UnavailableError(absl::StrCat("no server answers at ", addresses()));
    }
    const absl::Time now = absl::Now();
    if (now >= deadline) {
      return absl::UnavailableError(absl::StrCat("no server answered at ", addresses(), " within ",
                                                 absl::FormatDuration(timeout)));
    }
    const absl::Time until = size() == 1 ? deadline : std::min(deadline, now + kPollInterval);
    pending->channel->WaitForStateChange(pending_state, absl::ToChronoTime(until));
  }
}

}  // namespace leapstream::client
