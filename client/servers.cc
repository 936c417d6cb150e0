#include "client/servers.h"

#include <algorithm>
#include <future>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/channel.h"
#include "client/deadline.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
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

// gRPC 1.51 ends the queue and the threads that run reactions when their last user goes, and now
// and then frees them twice when the next one comes just then. The call of this channel, which ends
// at once, makes it a user, for as long as the process lives.
std::shared_ptr<grpc::Channel> ReactionThreads() {
  static const auto* const keeper = [] {
    auto* const channel = new std::shared_ptr<grpc::Channel>(
        grpc::CreateChannel("unix:///dev/null", grpc::InsecureChannelCredentials()));
    const auto stub = v1::SimultaneousTranslationService::NewStub(*channel);
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(SteadyTime::InfinitePast()));
    v1::ListModelsRequest request;
    v1::ListModelsResponse response;
    std::promise<void> over;
    stub->async()->ListModels(&context, &request, &response,
                              [&over](const grpc::Status&) { over.set_value(); });
    over.get_future().wait();
    return channel;
  }();
  return *keeper;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ServerAddresses(const ClientOptions& options) {
  const auto wrong = [](absl::string_view got) {
    return absl::InvalidArgumentError(
        absl::StrCat("want host:port of a server, such as localhost:50051, got \"", got, "\""));
  };
  std::vector<std::string> addresses;
  for (absl::string_view address : absl::StrSplit(options.address, ',')) {
    address = absl::StripAsciiWhitespace(address);
    if (address.empty()) continue;
    // gRPC would take TLS's port.
    if (!options.security.tls && !absl::StrContains(address, ':')) return wrong(address);
    addresses.emplace_back(address);
  }
  if (addresses.empty()) return wrong(options.address);
  return addresses;
}

absl::StatusOr<std::shared_ptr<Servers>> Servers::Create(const ClientOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const ChannelMaker maker, ChannelMaker::Create(options.security));
  std::shared_ptr<Servers> servers(new Servers());
  servers->reaction_threads_ = ReactionThreads();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> addresses, ServerAddresses(options));
  for (const std::string& address : addresses) {
    Server& server = servers->servers_.emplace_back();
    server.address = address;
    LEAPSTREAM_ASSIGN_OR_RETURN(server.channel, maker.Make(server.address, Arguments()));
    server.stub = v1::SimultaneousTranslationService::NewStub(server.channel);
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
  const SteadyTime deadline = SteadyNow() + timeout;
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
    const SteadyTime now = SteadyNow();
    if (now >= deadline) {
      return absl::UnavailableError(absl::StrCat("no server answered at ", addresses(), " within ",
                                                 absl::FormatDuration(timeout)));
    }
    const SteadyTime until = size() == 1 ? deadline : std::min(deadline, now + kPollInterval);
    pending->channel->WaitForStateChange(pending_state, GrpcDeadline(until));
  }
}

}  // namespace leapstream::client
