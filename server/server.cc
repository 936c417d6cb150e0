#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/served_models.h"
#include "server/translate_reactor.h"
#include "server/unary_reactors.h"

namespace leapstream {
namespace {

using Grpc = v1::SimultaneousTranslationService;
using RawService = Grpc::WithRawCallbackMethod_StreamTranslate<
    Grpc::WithRawCallbackMethod_Translate<Grpc::WithRawCallbackMethod_ListModels<Grpc::Service>>>;

class Service final : public RawService {
 public:
  Service(ServedModels* models, bool log_text) : models_(models), log_text_(log_text) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamTranslate(
      grpc::CallbackServerContext* /*context*/) override {
    return TranslateReactor::Start(models_, log_text_);
  }
  grpc::ServerUnaryReactor* Translate(grpc::CallbackServerContext* /*context*/,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override {
    return StartTranslate(models_, request, response);
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(leapstream::ListModels(*models_, request, response));
    return reactor;
  }

 private:
  ServedModels* const models_;
  const bool log_text_;
};

class GrpcServer final : public Server {
 public:
  GrpcServer(std::unique_ptr<ServedModels> models, bool log_text)
      : models_(std::move(models)), service_(models_.get(), log_text) {}
  ~GrpcServer() override {
    if (server_ != nullptr) Shutdown(absl::Now());
  }

  absl::Status Listen(const std::string& address) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    // Two servers on one port would share its connections without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // A session may be silent for long; clients may ping to keep proxies from closing it.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, "; is it HOST:PORT, and is the port free?"));
    }
    server_->GetHealthCheckService()->SetServingStatus(Grpc::service_full_name(), true);
    return absl::OkStatus();
  }

  int port() const override { return port_; }
  void Shutdown(absl::Time deadline) override {
    server_->GetHealthCheckService()->SetServingStatus(false);
    server_->Shutdown(absl::ToChronoTime(deadline));
  }

 private:
  std::unique_ptr<ServedModels> models_;  // Outlives the calls, and so the gRPC server.
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<ServedModels> served,
                              ServedModels::Create(std::move(models)));
  auto server = std::make_unique<GrpcServer>(std::move(served), options.log_text);
  LEAPSTREAM_RETURN_IF_ERROR(server->Listen(options.listen));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leapstream
