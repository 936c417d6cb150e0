#ifndef LEAPSTREAM_CLIENT_CHANNEL_H_
#define LEAPSTREAM_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/address.h"
#include "client/client.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace leapstream::client {

// Makes channels that are secured as `Security` says. Const, thread-safe.
class ChannelMaker {
 public:
  // Reads the files. NOT_FOUND: one cannot be read; INVALID_ARGUMENT: files without TLS, half of a
  // certificate and its key, or a token that is not one line.
  static absl::StatusOr<ChannelMaker> Create(const Security& security);

  // INVALID_ARGUMENT: a token would leave this machine without TLS.
  absl::Status MaySendToken(const ServerAddress& address) const;
  // `target`: of an address for which that is OK.
  std::shared_ptr<grpc::Channel> Make(const std::string& target,
                                      const grpc::ChannelArguments& arguments) const;

 private:
  ChannelMaker() = default;
  bool tls_ = false;
  std::string ca_;
  std::string certificate_;
  std::string key_;
  std::string authorization_;  // Empty: none is sent.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CHANNEL_H_
