#ifndef LEAPSTREAM_CLIENT_SERVERS_H_
#define LEAPSTREAM_CLIENT_SERVERS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/address.h"
#include "client/channel.h"
#include "client/names.h"
#include "client/types.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream::client {

// Reads ClientOptions::address: at least one address. INVALID_ARGUMENT: it names no server, or is
// malformed; the message says what to write.
absl::StatusOr<std::vector<ServerAddress>> ParseServerAddresses(const ClientOptions& options);

// One address of one server. A name with several addresses stands for several of these.
struct Server {
  std::string address;  // For messages.
  std::string note;  // Names the proxy, at the end of a message that the server cannot be reached.
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub;
};

// The replicas of a service: one for each address that the given names have at the moment.
// Thread-safe.
class Servers {
 public:
  // INVALID_ARGUMENT: the address is missing or malformed. Other errors are those of ChannelMaker.
  static absl::StatusOr<std::shared_ptr<Servers>> Create(const ClientOptions& options);

  // The servers that are known now, at least one. Names are looked up again unless that was done a
  // moment ago; a later call has the result. Does not block.
  std::vector<std::shared_ptr<Server>> All();
  std::string addresses() const;  // The addresses as given, for messages.

  // The server whose turn it is, of those that are connected; if none is, of those that may be
  // soon. Waits a moment for names that are being looked up.
  std::shared_ptr<Server> Next();
  // Until one is connected, and a moment for the others and for names that are being looked up.
  // UNAVAILABLE: all refuse, or none answered within `timeout`.
  absl::Status WaitUntilConnected(absl::Duration timeout);

 private:
  // An address as given, and the servers that it stands for at the moment, at least one.
  struct Given {
    ServerAddress address;
    std::optional<HttpProxy> proxy;
    int name = -1;  // Index in names_; -1: the address is not looked up here.
    std::vector<std::shared_ptr<Server>> servers;
  };

  Servers(ChannelMaker maker, std::vector<Given> given, std::vector<std::string> hosts,
          AddressLookup lookup);
  std::shared_ptr<Server> NewServer(const Given& given, const std::string& address) const;
  std::vector<std::shared_ptr<Server>> Known() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes over the addresses that the lookups have found.
  void Update() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reasons for which no server may have answered, to be appended to a message.
  std::string Trouble();

  // Keeps gRPC's reaction threads; see servers.cc.
  const std::shared_ptr<grpc::Channel> reaction_threads_;
  const ChannelMaker maker_;
  Names names_;
  mutable Mutex mutex_;
  std::vector<Given> given_ ABSL_GUARDED_BY(mutex_);
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;  // The names_.changes() that Update() took over.
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SERVERS_H_
