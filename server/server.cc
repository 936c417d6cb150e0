#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/quoted.h"
#include "base/status.h"
#include "grpc/health/v1/health.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/address.h"
#include "server/admin_service.h"
#include "server/http_endpoint.h"
#include "server/model_reloader.h"
#include "server/serving.h"
#include "server/state_metrics.h"
#include "server/translate_reactor.h"
#include "server/unary_reactors.h"

namespace leapstream {
namespace {

using Grpc = v1::SimultaneousTranslationService;
using RawService = Grpc::WithRawCallbackMethod_StreamTranslate<
    Grpc::WithRawCallbackMethod_Translate<Grpc::WithRawCallbackMethod_ListModels<Grpc::Service>>>;

constexpr absl::Duration kLastWords = absl::Seconds(1);
constexpr unsigned int kCertificateCheckSeconds = 2;
constexpr int kMaxAdminBytes = 64 << 10;
constexpr char kLiveness[] = "liveness";

class Service final : public RawService {
 public:
  explicit Service(Serving* serving) : serving_(serving) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamTranslate(
      grpc::CallbackServerContext* context) override {
    return TranslateReactor::Start(serving_, context);
  }
  grpc::ServerUnaryReactor* Translate(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override {
    return StartTranslate(serving_, context, request, response);
  }
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(leapstream::ListModels(*serving_, *context, request, response));
    return reactor;
  }

 private:
  Serving* const serving_;
};

class GrpcServer final : public Server {
 public:
  GrpcServer(std::unique_ptr<Serving> serving, const ServerHooks& hooks)
      : serving_(std::move(serving)),
        service_(serving_.get()),
        reloader_(serving_.get(), hooks),
        admin_service_(serving_.get(), &reloader_, hooks.drain) {}
  ~GrpcServer() override {
    if (server_ != nullptr) Shutdown(absl::Now());
  }

  absl::Status Listen() {
    const ServerOptions& options = serving_->options;
    grpc::EnableDefaultHealthCheckService(true);
    // gRPC serves it without a descriptor; naming it here links one in, for reflection.
    grpc::health::v1::HealthCheckRequest::descriptor();
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
    // 64 KiB of each stream that is not read, and no more: gRPC would let a fast writer have
    // megabytes, which no session needs.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.SetMaxReceiveMessageSize(options.max_message_bytes);
    builder.AddListeningPort(options.listen, MakeCredentials(options.tls), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) return CannotListen(options.listen);
    server_->GetHealthCheckService()->SetServingStatus(Grpc::service_full_name(), true);
    watchdog_ = std::make_unique<Timers>();
    Watch();
    if (!options.metrics_listen.empty()) LEAPSTREAM_RETURN_IF_ERROR(ListenForMetrics());
    return options.admin_listen.empty() ? absl::OkStatus() : ListenForAdmin();
  }

  int port() const override { return port_; }
  int metrics_port() const override { return metrics_ == nullptr ? 0 : metrics_->port(); }
  int admin_port() const override { return admin_port_; }
  int max_sessions() const override { return serving_->admission.max_sessions(); }
  void AnnounceDrain(absl::Time until) override {
    SayNotServing();
    serving_->admission.AnnounceDrain(until);
  }
  void Shutdown(absl::Time deadline) override {
    SayNotServing();
    serving_->admission.StartDrain(deadline);
    if (!serving_->admission.WaitUntilEmpty(deadline)) {
      serving_->admission.EndAll(Draining());
    }
    // What ends now has this long to be told so; gRPC cancels the rest.
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kLastWords));
  }
  void Force() override { serving_->admission.Force(); }
  absl::StatusOr<std::vector<ReloadedModel>> ReloadModels() override {
    return reloader_.Reload("");
  }

 private:
  static absl::Status CannotListen(const std::string& address) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", Quoted(address),
                                               "; is the port free, and the host this machine?"));
  }

  static std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const TlsFiles& files) {
    if (files.certificate.empty()) return grpc::InsecureServerCredentials();
    namespace tls = grpc::experimental;
    tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
        files.key, files.certificate, files.client_ca, kCertificateCheckSeconds));
    options.watch_identity_key_cert_pairs();
    if (!files.client_ca.empty()) {
      options.watch_root_certs();
      options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    }
    return tls::TlsServerCredentials(options);
  }

  void SayNotServing() {
    server_->GetHealthCheckService()->SetServingStatus("", false);
    server_->GetHealthCheckService()->SetServingStatus(Grpc::service_full_name(), false);
  }

  // OK, or which step loop hangs.
  absl::Status Alive() const {
    for (const ServedModels::State& model : serving_->models->States()) {
      if (model.turn_age > serving_->options.liveness_timeout) {
        return absl::InternalError(absl::StrCat("the step loop of model ", model.info.name,
                                                " has made no step for ",
                                                absl::FormatDuration(model.turn_age)));
      }
    }
    return absl::OkStatus();
  }

  // A token that was taken back, or has expired, ends what it began.
  void EndUnauthenticated() {
    if (serving_->tokens == nullptr) return;
    const absl::Time now = absl::Now();
    for (const auto& call : serving_->admission.WithPermit()) {
      absl::Status status = serving_->tokens->StillAccepts(call->token_entry(), now);
      if (!status.ok()) call->End(std::move(status));
    }
  }

  // What is to be looked at now and then.
  void Watch() {
    server_->GetHealthCheckService()->SetServingStatus(kLiveness, Alive().ok());
    serving_->models->DropUnused(absl::Now());
    serving_->models->ReserveAhead(serving_->admission.max_sessions());
    EndUnauthenticated();
    watchdog_->At(absl::Now() + absl::Seconds(1), [this] { Watch(); });
  }

  absl::Status ListenForMetrics() {
    LEAPSTREAM_ASSIGN_OR_RETURN(const Address address,
                                ParseAddress(serving_->options.metrics_listen));
    const auto alive = [this]() -> absl::StatusOr<std::string> {
      absl::Status status = Alive();
      if (!status.ok()) return status;
      return "ok\n";
    };
    const auto ready = [this, alive]() -> absl::StatusOr<std::string> {
      if (serving_->admission.draining()) return Draining();
      return alive();  // Full is ready: clients are told to retry elsewhere.
    };
    LEAPSTREAM_ASSIGN_OR_RETURN(
        metrics_,
        HttpEndpoint::Start(address, {{"/metrics", "text/plain; version=0.0.4; charset=utf-8",
                                       [this] { return MetricsPage(*serving_); }},
                                      {"/healthz", "text/plain", alive},
                                      {"/readyz", "text/plain", ready}}));
    return absl::OkStatus();
  }

  absl::Status ListenForAdmin() {
    const std::string& listen = serving_->options.admin_listen;
    LEAPSTREAM_ASSIGN_OR_RETURN(const Address address, ParseAddress(listen));
    if (!IsLoopback(address)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the admin service is for this machine alone: listen on 127.0.0.1 or [::1], not on ",
          Quoted(listen)));
    }
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(kMaxAdminBytes);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &admin_port_);
    builder.RegisterService(&admin_service_);
    admin_server_ = builder.BuildAndStart();
    return admin_server_ == nullptr || admin_port_ == 0 ? CannotListen(listen) : absl::OkStatus();
  }

  std::unique_ptr<Serving> serving_;  // Outlives the calls, and so the gRPC server.
  Service service_;
  ModelReloader reloader_;
  AdminService admin_service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::unique_ptr<Timers> watchdog_;
  std::unique_ptr<HttpEndpoint> metrics_;
  std::unique_ptr<grpc::Server> admin_server_;
  int admin_port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models,
    const ServerHooks& hooks) {
  LEAPSTREAM_RETURN_IF_ERROR(ParseAddress(options.listen).status());
  LEAPSTREAM_RETURN_IF_ERROR(CheckTlsFiles(options.tls));
  const int64_t available = AvailableMemory();
  const int max_sessions =
      options.max_sessions > 0 ? options.max_sessions : DefaultMaxSessions(models, available);
  const int64_t max_state_bytes =
      options.max_state_bytes > 0 ? options.max_state_bytes
                                  : DefaultMaxStateBytes(models, available, max_sessions);
  for (const auto& model : models) {
    LEAPSTREAM_RETURN_IF_ERROR(ReserveStates(*model, 0, max_sessions));
  }
  auto metrics = std::make_unique<Metrics>();
  LEAPSTREAM_ASSIGN_OR_RETURN(
      std::unique_ptr<ServedModels> served,
      ServedModels::Create(std::move(models), options.replicas, metrics.get(), max_state_bytes));
  absl::StatusOr<ResumeSigner> signer = options.resume_key_file.empty()
                                            ? ResumeSigner::WithRandomKey()
                                            : ResumeSigner::WithKeyFrom(options.resume_key_file);
  if (!signer.ok()) return signer.status();
  std::unique_ptr<TokenFile> tokens;
  if (!options.auth_tokens_file.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(tokens, TokenFile::Open(options.auth_tokens_file));
  }
  auto server = std::make_unique<GrpcServer>(
      std::make_unique<Serving>(options, max_sessions, *std::move(signer), std::move(tokens),
                                std::move(metrics), std::move(served)),
      hooks);
  LEAPSTREAM_RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leapstream
