#include "server/gateway_port.h"

#include <grpcpp/channel.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "server/address.h"
#include "server/caller.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<GatewayPort>> GatewayPort::Open(Serving* serving,
                                                               const TlsCopies* tls,
                                                               const DescriptorPlan& descriptors) {
  const ServerOptions& options = serving->options;
  LEAPSTREAM_ASSIGN_OR_RETURN(const Address address, ParseAddress(options.http_listen));
  ListeningSockets sockets;
  LEAPSTREAM_ASSIGN_OR_RETURN(sockets, ListeningSockets::Open(address));
  std::unique_ptr<GatewayPort> port(new GatewayPort(serving));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.RegisterService(&port->service_);
  port->server_ = builder.BuildAndStart();
  if (port->server_ == nullptr) return absl::UnavailableError("gRPC cannot serve this process");
  gateway::GatewayOptions how;
  how.channel = [channel = port->server_->InProcessChannel({})] { return channel; };
  how.caller_secret = GatewaySecret();
  for (const absl::string_view origin :
       absl::StrSplit(options.http_allowed_origins, ',', absl::SkipWhitespace())) {
    how.allowed_origins.emplace_back(absl::StripAsciiWhitespace(origin));
  }
  how.origin_remedy = "; its operator can name it in http_allowed_origins";
  how.max_message_bytes = static_cast<size_t>(options.max_message_bytes);
  if (options.limits.stuck_reader_timeout > absl::ZeroDuration()) {
    how.stuck_reader_timeout = options.limits.stuck_reader_timeout;
  }
  port->gateway_ = gateway::Gateway::Start(std::move(how));
  if (tls != nullptr) {
    const TlsFiles& files = tls->copies();
    LEAPSTREAM_RETURN_IF_ERROR(
        port->gateway_->UseTls(files.certificate, files.key, files.client_ca));
  }
  port->listener_ =
      std::make_unique<Listener>(std::move(sockets), descriptors.connections, "HTTP");
  port->listener_->Start([gateway = port->gateway_.get()](int /*listening*/, int connection) {
    gateway->Adopt(connection);
  });
  return port;
}

void GatewayPort::UseTls(const TlsFiles& tls) {
  const absl::Status status = gateway_->UseTls(tls.certificate, tls.key, tls.client_ca);
  if (status.ok()) return;
  spdlog::error("HTTP goes on with its certificate: {}", std::string(status.message()));
}

}  // namespace leapstream
