#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/serving.h"
#include "server/translate_reactor.h"
#include "server/unary_reactors.h"

namespace leapstream {
namespace {

using Grpc = v1::SimultaneousTranslationService;
using RawService = Grpc::WithRawCallbackMethod_StreamTranslate<
    Grpc::WithRawCallbackMethod_Translate<Grpc::WithRawCallbackMethod_ListModels<Grpc::Service>>>;

constexpr absl::Duration kLastWords = absl::Seconds(1);

class Service final : public RawService {
 public:
  explicit Service(Serving* serving) : serving_(serving) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamTranslate(
      grpc::CallbackServerContext* context) override {
    return TranslateReactor::Start(serving_, context);
  }
  grpc::ServerUnaryReactor* Translate(grpc::CallbackServerContext* /*context*/,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override {
    return StartTranslate(serving_, request, response);
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(leapstream::ListModels(*serving_->models, request, response));
    return reactor;
  }

 private:
  Serving* const serving_;
};

class GrpcServer final : public Server {
 public:
  explicit GrpcServer(std::unique_ptr<Serving> serving)
      : serving_(std::move(serving)), service_(serving_.get()) {}
  ~GrpcServer() override {
    if (server_ != nullptr) Shutdown(absl::Now());
  }

  absl::Status Listen() {
    const ServerOptions& options = serving_->options;
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    // Two servers on one port would share its connections without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // A session may be silent for long; clients may ping to keep proxies from closing it.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    // A peer whose machine or network is gone says nothing; only a ping finds out.
    if (options.keepalive_time > absl::ZeroDuration()) {
      builder.AddChannelArgument(
          GRPC_ARG_KEEPALIVE_TIME_MS,
          static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_time)));
      builder.AddChannelArgument(
          GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
          static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
      builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // No limit.
    }
    builder.SetMaxReceiveMessageSize(options.max_message_bytes);
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen,
                                                 "; is it HOST:PORT, and is the port free?"));
    }
    server_->GetHealthCheckService()->SetServingStatus(Grpc::service_full_name(), true);
    return absl::OkStatus();
  }

  int port() const override { return port_; }
  int max_sessions() const override { return serving_->admission.max_sessions(); }
  void Shutdown(absl::Time deadline) override {
    server_->GetHealthCheckService()->SetServingStatus(false);
    serving_->admission.StartDrain(deadline);
    if (!serving_->admission.WaitUntilEmpty(deadline)) {
      serving_->admission.EndAll(Draining());
    }
    // What ends now has this long to be told so; gRPC cancels the rest.
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kLastWords));
  }
  void Force() override { serving_->admission.Force(); }

 private:
  std::unique_ptr<Serving> serving_;  // Outlives the calls, and so the gRPC server.
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models) {
  const int max_sessions = options.max_sessions > 0 ? options.max_sessions
                                                    : DefaultMaxSessions(models, AvailableMemory());
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<ServedModels> served,
                              ServedModels::Create(std::move(models)));
  absl::StatusOr<ResumeSigner> signer = options.resume_key_file.empty()
                                            ? ResumeSigner::WithRandomKey()
                                            : ResumeSigner::WithKeyFrom(options.resume_key_file);
  if (!signer.ok()) return signer.status();
  auto server = std::make_unique<GrpcServer>(
      std::make_unique<Serving>(options, max_sessions, *std::move(signer), std::move(served)));
  LEAPSTREAM_RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leapstream
