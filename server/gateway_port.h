#ifndef LEAPSTREAM_SERVER_GATEWAY_PORT_H_
#define LEAPSTREAM_SERVER_GATEWAY_PORT_H_

#include <grpcpp/server.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/gateway/gateway.h"
#include "server/descriptors.h"
#include "server/listener.h"
#include "server/rpc/services.h"
#include "server/tls_files.h"

namespace leapstream {

// The port for clients without gRPC: HTTP and WebSockets in front of this server's own calls. They
// come over a channel within the process, to a gRPC server that has no other: that of the gRPC port
// cuts such a channel off as soon as it stops to listen. Thread-safe.
class GatewayPort {
 public:
  // `serving` must outlive it. `tls` is null without TLS. INVALID_ARGUMENT: the address or a file
  // cannot be used. UNAVAILABLE: nothing can listen on the address.
  static absl::StatusOr<std::unique_ptr<GatewayPort>> Open(Serving* serving, const TlsCopies* tls,
                                                           const DescriptorPlan& descriptors);
  ~GatewayPort() {
    if (listener_ != nullptr) StopListening();
  }

  int port() const { return listener_->port(); }
  int connections() const { return gateway_->connections(); }
  // New connections begin with these files. If they cannot be used, nothing changes, and the log
  // says why.
  void UseTls(const TlsFiles& tls);
  void StopListening() { listener_->Stop(); }
  // To be called when no call of the server is left: clients get the ends of theirs, within
  // `patience`.
  void Drain(absl::Duration patience) { gateway_->Drain(patience); }

 private:
  explicit GatewayPort(Serving* serving) : service_(TranslationService(serving)) {}
  RawService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_GATEWAY_PORT_H_
