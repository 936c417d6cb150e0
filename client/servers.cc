#include "client/servers.h"

#include <algorithm>
#include <future>
#include <optional>
#include <set>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/deadline.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);   // Between looks at the channels.
constexpr absl::Duration kNameInterval = absl::Milliseconds(500);  // Between looks at the name.
// The longest wait for the addresses of names before servers are called that are known already.
constexpr absl::Duration kLookupPatience = absl::Milliseconds(100);
// The longest wait for servers that connect later, so that streams can go to all by turns.
constexpr absl::Duration kSettle = absl::Milliseconds(300);

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  // A server may be starting, or starting again: gRPC's own first pause is a second, growing to two
  // minutes, and it waits twenty seconds for a machine that does not answer.
  // The state of a text may be larger than gRPC's 4 MiB.
  constexpr int kMostMessageBytes = 256 << 20;
  arguments.SetMaxReceiveMessageSize(kMostMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3000);
  // A machine or network that is gone says nothing; only a ping finds out.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  // These two are for names that gRPC looks up, such as those that come with a name server.
  arguments.SetLoadBalancingPolicyName("round_robin");
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  return arguments;
}

// The reason why a server cannot be reached, to be appended to a message; empty: gRPC has none.
std::string Unreachable(const Server& server) {
  grpc::ClientContext context;
  context.set_deadline(GrpcDeadline(SteadyNow() + absl::Seconds(1)));
  v1::ListModelsResponse response;
  const grpc::Status status = server.stub->ListModels(&context, {}, &response);
  constexpr absl::string_view kLast = "last error: ";
  absl::string_view reason = status.error_message();
  const size_t last = reason.rfind(kLast);
  if (status.ok() || last == absl::string_view::npos) return "";
  reason.remove_prefix(last + kLast.size());
  for (const absl::string_view code : {"UNKNOWN: ", "UNAVAILABLE: ", "INTERNAL: "}) {
    absl::ConsumePrefix(&reason, code);
  }
  // Something listens there and says nothing that gRPC understands.
  const bool answers = !absl::StrContains(reason, "Failed to connect");
  return absl::StrCat("; ", reason,
                      answers ? "; either it is no gRPC server, or one side uses TLS and the other "
                                "does not, or does not trust its certificate: see --tls"
                              : "");
}

// gRPC 1.51 ends the queue and the threads that run reactions when their last user goes, and now
// and then frees them twice when the next user comes just then. The call on this channel, which
// ends at once, makes the channel a user for as long as the process lives.
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

absl::StatusOr<std::vector<ServerAddress>> ParseServerAddresses(const ClientOptions& options) {
  std::vector<ServerAddress> addresses;
  for (const absl::string_view given : absl::StrSplit(options.address, ',')) {
    if (absl::StripAsciiWhitespace(given).empty()) continue;
    LEAPSTREAM_ASSIGN_OR_RETURN(ServerAddress address,
                                ParseServerAddress(given, options.security.tls));
    addresses.push_back(std::move(address));
  }
  if (addresses.empty()) return ParseServerAddress("", options.security.tls).status();
  return addresses;
}

absl::StatusOr<std::shared_ptr<Servers>> Servers::Create(const ClientOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(ChannelMaker maker, ChannelMaker::Create(options.security));
  LEAPSTREAM_ASSIGN_OR_RETURN(std::vector<ServerAddress> addresses, ParseServerAddresses(options));
  std::vector<Given> given;
  std::vector<std::string> hosts;
  for (ServerAddress& address : addresses) {
    LEAPSTREAM_RETURN_IF_ERROR(maker.MaySendToken(address));
    Given& each = given.emplace_back();
    each.address = std::move(address);
    if (each.address.host.empty()) continue;
    if (!each.address.of_this_machine) each.proxy = ProxyFor(each.address.host);
    if (each.address.is_literal) {
      if (IsOfThisMachine(each.address.host)) each.proxy.reset();
      continue;
    }
    each.name = static_cast<int>(hosts.size());
    hosts.push_back(each.address.host);
  }
  return std::shared_ptr<Servers>(
      new Servers(std::move(maker), std::move(given), std::move(hosts), options.lookup));
}

Servers::Servers(ChannelMaker maker, std::vector<Given> given, std::vector<std::string> hosts,
                 AddressLookup lookup)
    : reaction_threads_(ReactionThreads()),
      maker_(std::move(maker)),
      names_(hosts, std::move(lookup)),
      given_(std::move(given)) {
  MutexLock lock(&mutex_);
  // A name stands for itself until its addresses are known.
  for (Given& each : given_) each.servers.push_back(NewServer(each, ""));
  absl::BitGen random;  // Many clients must not all begin with the same server.
  next_ = absl::Uniform<size_t>(random, 0, size_t{1} << 16);
}

// `address` is one of the name's addresses; "" stands for what was given, as it is.
std::shared_ptr<Server> Servers::NewServer(const Given& given, const std::string& address) const {
  grpc::ChannelArguments arguments = Arguments();
  auto server = std::make_shared<Server>();
  server->address =
      address.empty() ? given.address.given : WithPort(address, given.address.port);
  if (!given.address.authority.empty()) {
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, given.address.authority);
  }
  if (!address.empty() || !given.proxy.has_value()) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  } else {
    server->note = absl::StrCat("; it is asked through ", given.proxy->value,
                                ", the proxy that the environment's ", given.proxy->variable,
                                " names: unset that, or add ", given.address.host,
                                " to no_proxy, if it is to be reached without");
  }
  server->channel = maker_.Make(
      address.empty() ? given.address.target : TargetOf(address, given.address.port), arguments);
  server->stub = v1::SimultaneousTranslationService::NewStub(server->channel);
  return server;
}

void Servers::Update() {
  const int64_t changes = names_.changes();
  if (changes == changes_) return;
  changes_ = changes;
  for (Given& given : given_) {
    if (given.name < 0) continue;
    absl::StatusOr<std::vector<std::string>> found =
        names_.addresses(static_cast<size_t>(given.name));
    // A proxy finds the name by itself, and often nobody else can.
    if (!found.ok() ||
        (given.proxy.has_value() && !std::all_of(found->begin(), found->end(), &IsOfThisMachine))) {
      continue;
    }
    // Servers that stay keep their places, so that turns go on; a lookup may give any order.
    std::vector<std::shared_ptr<Server>> servers;
    for (const auto& server : given.servers) {
      const auto same = std::find_if(found->begin(), found->end(), [&](const std::string& each) {
        return server->address == WithPort(each, given.address.port);
      });
      if (same == found->end()) continue;
      servers.push_back(server);
      found->erase(same);
    }
    // There are too many: all clients together are to use all of them.
    const size_t room = budget::kAddressesPerName - servers.size();
    if (found->size() > room) {
      std::shuffle(found->begin(), found->end(), absl::BitGen());
      found->resize(room);
    }
    for (const std::string& address : *found) servers.push_back(NewServer(given, address));
    given.servers = std::move(servers);
  }
}

std::vector<std::shared_ptr<Server>> Servers::Known() {
  Update();
  std::vector<std::shared_ptr<Server>> known;
  for (const Given& given : given_) {
    known.insert(known.end(), given.servers.begin(), given.servers.end());
  }
  return known;
}

std::vector<std::shared_ptr<Server>> Servers::All() {
  names_.LookAgain();
  MutexLock lock(&mutex_);
  return Known();
}

std::string Servers::addresses() const {
  MutexLock lock(&mutex_);
  return absl::StrJoin(given_, ", ", [](std::string* out, const Given& given) {
    absl::StrAppend(out, given.address.given);
  });
}

std::string Servers::Trouble() {
  MutexLock lock(&mutex_);
  std::string trouble;
  for (const Given& given : given_) {
    if (given.name >= 0) {
      const absl::Status status = names_.addresses(static_cast<size_t>(given.name)).status();
      if (!status.ok()) {
        absl::StrAppend(&trouble, "; ", given.address.host, ": ", status.message());
      }
    }
    for (const auto& server : given.servers) absl::StrAppend(&trouble, server->note);
  }
  return trouble;
}

std::shared_ptr<Server> Servers::Next() {
  names_.LookAgain();
  names_.Wait(kLookupPatience);
  MutexLock lock(&mutex_);
  const std::vector<std::shared_ptr<Server>> known = Known();
  const size_t turn = next_++;
  std::shared_ptr<Server> ready, connecting;  // The first of each kind, from the turn's on.
  for (size_t i = 0; i < known.size(); ++i) {  // All: each is to be connected when its turn comes.
    const auto& server = known[(turn + i) % known.size()];
    const auto state = server->channel->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) {
      if (ready == nullptr) ready = server;
    } else if (state != GRPC_CHANNEL_TRANSIENT_FAILURE && state != GRPC_CHANNEL_SHUTDOWN) {
      if (connecting == nullptr) connecting = server;
    }
  }
  if (ready != nullptr) return ready;
  return connecting != nullptr ? connecting : known[turn % known.size()];
}

absl::Status Servers::WaitUntilConnected(absl::Duration timeout) {
  const SteadyTime deadline = SteadyNow() + timeout;
  names_.Wait(std::min(timeout, kLookupPatience));
  SteadyTime settled = SteadyTime::InfiniteFuture();  // When the others have had their time.
  std::set<std::shared_ptr<Server>> refused;    // One refusal is enough here.
  while (true) {
    const bool looked_up = names_.WaitForFirst(SteadyNow());
    const std::vector<std::shared_ptr<Server>> servers = All();
    std::shared_ptr<Server> pending;
    auto pending_state = GRPC_CHANNEL_IDLE;
    bool ready = false;
    for (const auto& server : servers) {
      const auto state = server->channel->GetState(/*try_to_connect=*/true);
      if (state == GRPC_CHANNEL_READY) {
        ready = true;
      } else if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
        refused.insert(server);
      } else if (refused.count(server) == 0) {
        pending = server;
        pending_state = state;
      }
    }
    const SteadyTime now = SteadyNow();
    if (ready) settled = std::min(settled, now + kSettle);
    const bool over = pending == nullptr && looked_up;
    if (ready && (over || now >= std::min(settled, deadline))) return absl::OkStatus();
    if (over) {
      std::string trouble = Trouble();
      if (trouble.empty()) trouble = Unreachable(*servers.front());
      return absl::UnavailableError(absl::StrCat("no server answers at ", addresses(), trouble));
    }
    if (now >= deadline) {
      return absl::UnavailableError(absl::StrCat("no server answered at ", addresses(), " within ",
                                                 absl::FormatDuration(timeout), Trouble()));
    }
    const bool alone = looked_up && servers.size() == 1;
    const SteadyTime until = std::min(deadline, now + (alone ? kNameInterval : kPollInterval));
    if (pending == nullptr) {
      names_.WaitForFirst(until);
    } else {
      pending->channel->WaitForStateChange(pending_state, GrpcDeadline(until));
    }
  }
}

}  // namespace leapstream::client
