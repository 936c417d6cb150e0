#ifndef LEAPSTREAM_CLIENT_SERVERS_H_
#define LEAPSTREAM_CLIENT_SERVERS_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream::client {

struct Server {
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub;
};

// The replicas of a service. Thread-safe.
class Servers {
 public:
  // See ClientOptions::address.
  static absl::StatusOr<std::shared_ptr<Servers>> Create(absl::string_view addresses);

  size_t size() const { return servers_.size(); }
  Server& operator[](size_t index) { return servers_[index]; }
  std::string addresses() const;  // For messages.

  // The server whose turn it is; one that is known to be out of reach is passed over.
  size_t Next();
  // Until one is connected. UNAVAILABLE: all refuse, or none answered within `timeout`.
  absl::Status WaitUntilConnected(absl::Duration timeout);

 private:
  Servers() = default;

  std::vector<Server> servers_;
  std::atomic<size_t> next_ = 0;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SERVERS_H_
