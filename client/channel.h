#ifndef LEAPSTREAM_CLIENT_CHANNEL_H_
#define LEAPSTREAM_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/address.h"
#include "client/types.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace leapstream::client {

// Makes channels that are secured as `Security` says. Const, thread-safe.
class ChannelMaker {
 public:
  // Reads the files. NOT_FOUND: a file cannot be read. INVALID_ARGUMENT: there are certificates
  // without TLS, a certificate without its key or a key without its certificate, or a token that is
  // not exactly one line.
  static absl::StatusOr<ChannelMaker> Create(const Security& security);

  // INVALID_ARGUMENT: a token would leave this machine without TLS.
  absl::Status MaySendToken(const ServerAddress& address) const;
  // `target` belongs to an address for which MaySendToken() has returned OK.
  std::shared_ptr<grpc::Channel> Make(const std::string& target,
                                      const grpc::ChannelArguments& arguments) const;

 private:
  ChannelMaker() = default;
  bool tls_ = false;
  std::string ca_;
  std::string certificate_;
  std::string key_;
  std::string authorization_;  // Value of the header; empty: none is sent.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CHANNEL_H_
