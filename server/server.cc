#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpc/grpc.h>
#include <grpc/support/cpu.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/quoted.h"
#include "base/status.h"
#include "grpc/health/v1/health.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/address.h"
#include "server/admin_service.h"
#include "server/descriptors.h"
#include "server/gateway_port.h"
#include "server/heap.h"
#include "server/http_endpoint.h"
#include "server/listener.h"
#include "server/model_reloader.h"
#include "server/serving.h"
#include "server/state_metrics.h"
#include "server/rpc/services.h"
#include "server/text_state.h"
#include "server/worker.h"

namespace leapstream {
namespace {

using Grpc = v1::SimultaneousTranslationService;

constexpr absl::Duration kLastWords = absl::Seconds(1);
constexpr unsigned int kCertificateCheckSeconds = 1;  // Watch() updates the copies as often.
constexpr int kMaxAdminBytes = 64 << 10;
constexpr char kLiveness[] = "liveness";

// Sets the bounds that hold for all connections to a port, before any call is looked at, and so
// before its token is.
void BoundRequests(int max_message_bytes, size_t buffer_bytes, absl::Duration idle_connection,
                   grpc::ServerBuilder* builder) {
  // gRPC would inflate a message before it looks at its size: a megabyte could become a gigabyte.
  // With these two, calls that have a grpc-encoding are refused with UNIMPLEMENTED, and no filter
  // can inflate.
  builder->AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                              1 << GRPC_COMPRESS_NONE);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // Beyond this size of headers gRPC ends all calls of the connection, which may be calls of
  // several clients if it comes from a proxy. So the size is above that which the proxies of
  // docker/ pass on.
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, budget::kHeaderBytes);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, budget::kHandshakeMilliseconds);
  // This ends no connection that has a call, however silent the call is.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                              static_cast<int>(absl::ToInt64Milliseconds(idle_connection)));
  builder->SetMaxReceiveMessageSize(max_message_bytes);
  grpc::ResourceQuota quota("leapstream");
  quota.Resize(buffer_bytes);
  // gRPC itself takes one of the threads for each of its queues, and has one queue per core.
  quota.SetMaxThreads(budget::kCallThreads + static_cast<int>(gpr_cpu_num_cores()));
  builder->SetResourceQuota(quota);
}

// The bytes that gRPC may hold of messages that are not complete or not read. Beyond it gRPC ends
// streams. Nothing else bounds a message, since gRPC looks at the size of a message only when it
// has come as a whole. Sessions within their limits stay below this bound.
size_t BufferBytes(const ServerOptions& options, int max_sessions) {
  if (options.buffer_bytes > 0) return static_cast<size_t>(options.buffer_bytes);
  return static_cast<size_t>(std::max({AvailableMemory() / budget::kBufferShare,
                                       budget::kLeastBufferBytes,
                                       max_sessions * budget::kBufferBytesPerSession}));
}

class GrpcServer final : public Server {
 public:
  // `tls` is null without TLS.
  GrpcServer(std::unique_ptr<Serving> serving, std::unique_ptr<TlsCopies> tls,
             const DescriptorPlan& descriptors, const ServerHooks& hooks)
      : descriptors_(descriptors),
        tls_(std::move(tls)),
        serving_(std::move(serving)),
        service_(TranslationService(serving_.get())),
        texts_(LanguageModelService(serving_.get())),
        reloader_(serving_.get(), hooks),
        admin_service_(serving_.get(), &reloader_, hooks.drain) {}
  ~GrpcServer() override {
    if (listener_ != nullptr) Shutdown(SteadyNow());
    if (admin_listener_ == nullptr) return;
    admin_listener_->Stop();
    admin_server_->Shutdown(LastWords());  // Ends streams that are open, too.
  }

  absl::Status Listen() {
    const ServerOptions& options = serving_->options;
    grpc::EnableDefaultHealthCheckService(true);
    // gRPC serves health without its descriptor. This call links the descriptor in, for reflection.
    grpc::health::v1::HealthCheckRequest::descriptor();
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               serving_->admission.max_sessions() + budget::kStreamsBesideSessions);
    // A session may be silent for long, and clients may ping so that no proxy closes it.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    // A peer whose machine or network is gone sends nothing; only a ping finds out.
    if (options.keepalive_time > absl::ZeroDuration()) {
      builder.AddChannelArgument(
          GRPC_ARG_KEEPALIVE_TIME_MS,
          static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_time)));
      builder.AddChannelArgument(
          GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
          static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
      builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // 0: no limit.
    }
    // gRPC then holds 64 KiB of each stream that is not read. With the probe it would hold
    // megabytes for a fast writer, which no session needs.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    BoundRequests(options.max_state_message_bytes,
                  BufferBytes(options, serving_->admission.max_sessions()),
                  options.idle_connection, &builder);
    builder.RegisterService(&service_);
    builder.RegisterService(&texts_);
    LEAPSTREAM_RETURN_IF_ERROR(StartOn(options.listen, MakeCredentials(),
                                       descriptors_.connections, "gRPC", builder, &server_,
                                       &listener_));
    if (options.drain_stops_listening) drainer_ = std::make_unique<Worker>();
    watchdog_ = std::make_unique<Timers>();
    if (!options.http_listen.empty()) {
      LEAPSTREAM_ASSIGN_OR_RETURN(gateway_,
                                  GatewayPort::Open(serving_.get(), tls_.get(), descriptors_));
      serving_->http_connections = [this] { return gateway_->connections(); };
    }
    Watch();
    if (!options.metrics_listen.empty()) LEAPSTREAM_RETURN_IF_ERROR(ListenForMetrics());
    return options.admin_listen.empty() ? absl::OkStatus() : ListenForAdmin();
  }

  int port() const override { return listener_->port(); }
  int http_port() const override { return gateway_ == nullptr ? 0 : gateway_->port(); }
  int metrics_port() const override { return metrics_ == nullptr ? 0 : metrics_->port(); }
  int admin_port() const override {
    return admin_listener_ == nullptr ? 0 : admin_listener_->port();
  }
  int max_sessions() const override { return serving_->admission.max_sessions(); }
  void AnnounceDrain(SteadyTime until) override {
    SayNotServing();
    serving_->admission.AnnounceDrain(until);
  }
  void Shutdown(SteadyTime deadline) override {
    SayNotServing();
    serving_->admission.StartDrain(deadline);
    const auto stopped = std::make_shared<std::promise<void>>();
    if (drainer_ != nullptr) {
      StopListening();
      // This call of gRPC returns when all calls have ended. A second one with a time would do
      // nothing, so late calls are cancelled below.
      drainer_->Do([this, stopped] {
        server_->Shutdown();
        stopped->set_value();
      });
    }
    if (!serving_->admission.WaitUntilEmpty(deadline)) {
      serving_->admission.EndAll(Draining());
    }
    StopListening();
    if (gateway_ != nullptr) gateway_->Drain(kLastWords);
    // Calls that end now have kLastWords to tell their clients; then they are cancelled.
    if (drainer_ == nullptr) return server_->Shutdown(LastWords());
    const std::future<void> is_stopped = stopped->get_future();
    if (is_stopped.wait_for(absl::ToChronoNanoseconds(kLastWords)) != std::future_status::ready) {
      grpc_server_cancel_all_calls(server_->c_server());
    }
    is_stopped.wait();
  }
  void Force() override { serving_->admission.Force(); }
  absl::StatusOr<std::vector<ReloadedModel>> ReloadModels() override {
    return reloader_.Reload("");
  }

 private:
  void StopListening() {
    listener_->Stop();
    if (gateway_ != nullptr) gateway_->StopListening();
  }
  // Starts a server with the services of `builder`, and a listener that gives it the connections to
  // `listen` whose descriptors are below `most`. `what` is the port's name in messages.
  absl::Status StartOn(const std::string& listen,
                       const std::shared_ptr<grpc::ServerCredentials>& credentials, int most,
                       const char* what, grpc::ServerBuilder& builder,
                       std::unique_ptr<grpc::Server>* server, std::unique_ptr<Listener>* listener) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const Address address, ParseAddress(listen));
    ListeningSockets sockets;
    LEAPSTREAM_ASSIGN_OR_RETURN(sockets, ListeningSockets::Open(address));
    // gRPC's own listener takes no connection any more once there was no descriptor for one.
    std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
        builder.experimental().AddExternalConnectionAcceptor(
            grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
    *server = builder.BuildAndStart();
    if (*server == nullptr) {
      return absl::UnavailableError(absl::StrCat("gRPC cannot serve on ", Quoted(listen)));
    }
    *listener = std::make_unique<Listener>(std::move(sockets), most, what);
    const int user_timeout =
        serving_->options.keepalive_time > absl::ZeroDuration()
            ? static_cast<int>(absl::ToInt64Milliseconds(serving_->options.keepalive_timeout))
            : 0;
    (*listener)->Start([acceptor, user_timeout](int listening, int connection) {
      // gRPC sets these options, too, for connections to a listener of its own.
      const int yes = 1;
      setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      if (user_timeout > 0) {
        setsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
      }
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
      parameters.listener_fd = listening;
      parameters.fd = connection;
      acceptor->HandleNewConnection(&parameters);
    });
    return absl::OkStatus();
  }

  std::shared_ptr<grpc::ServerCredentials> MakeCredentials() const {
    if (tls_ == nullptr) return grpc::InsecureServerCredentials();
    const TlsFiles& files = tls_->copies();
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

  static gpr_timespec LastWords() {
    return gpr_time_from_millis(absl::ToInt64Milliseconds(kLastWords), GPR_TIMESPAN);
  }
  void SayNotServing() {
    MutexLock lock(&mutex_);
    leaves_ = true;
    SayServing(false);
  }
  void SayServing(bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    server_->GetHealthCheckService()->SetServingStatus("", serving);
    server_->GetHealthCheckService()->SetServingStatus(Grpc::service_full_name(), serving);
  }

  // OK, or an error that says which thread hangs: only a new process mends that. A port that
  // refuses connections for want of descriptors is no such error, since the sessions that are open
  // would end with the process.
  absl::Status Alive() {
    LEAPSTREAM_RETURN_IF_ERROR(listener_->Turns());
    std::string hanging;
    absl::Duration age;
    for (const ServedModels::State& model : serving_->models->States()) {
      if (model.turn_age > std::max(age, serving_->options.liveness_timeout)) {
        hanging = model.info.name;
        age = model.turn_age;
      }
    }
    const SteadyTime now = SteadyNow();
    MutexLock lock(&mutex_);
    if (hanging.empty()) hangs_since_.reset();
    if (!hanging.empty() && !hangs_since_.has_value()) hangs_since_ = now;
    // After a stop of the whole process a turn looks old, and ends in a moment.
    if (hanging.empty() || now - *hangs_since_ < LastLook::kGrace) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the step loop of model ", hanging,
                                            " has made no step for ", absl::FormatDuration(age)));
  }

  // Ends the calls whose token was revoked or has expired.
  void EndUnauthenticated() {
    if (serving_->tokens == nullptr) return;
    const absl::Time now = absl::Now();  // Expiries are dates.
    for (const auto& call : serving_->admission.WithPermit()) {
      absl::Status status = serving_->tokens->StillAccepts(call->token_entry(), now);
      if (!status.ok()) call->End(std::move(status));
    }
  }

  // Does all that is to be done once a second.
  void Watch() {
    server_->GetHealthCheckService()->SetServingStatus(kLiveness, Alive().ok());
    {
      MutexLock lock(&mutex_);
      if (!leaves_) SayServing(listener_->Accepts().ok());
    }
    if (tls_ != nullptr && tls_->Update() && gateway_ != nullptr) gateway_->UseTls(tls_->copies());
    ReleaseHeap();
    // If this process was stopped, clients whose streams broke meanwhile have yet to come back and
    // resume, so models are kept a little longer.
    const SteadyTime now = SteadyNow();
    if (now >= watchdog_->patience()) serving_->models->DropUnused(now);
    serving_->models->ReserveAhead(serving_->admission.max_sessions());
    EndUnauthenticated();
    watchdog_->At(now + absl::Seconds(1), [this] { Watch(); });
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
      LEAPSTREAM_RETURN_IF_ERROR(listener_->Accepts());
      return alive();  // A full server is ready: it tells clients to retry elsewhere.
    };
    LEAPSTREAM_ASSIGN_OR_RETURN(
        metrics_,
        HttpEndpoint::Start(address, {{"/metrics", "text/plain; version=0.0.4; charset=utf-8",
                                       [this] { return MetricsPage(*serving_); }},
                                      {"/healthz", "text/plain", alive},
                                      {"/readyz", "text/plain", ready}},
                            descriptors_.http));
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
    BoundRequests(kMaxAdminBytes, budget::kLeastBufferBytes, serving_->options.idle_connection,
                  &builder);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
    builder.RegisterService(&admin_service_);
    return StartOn(listen, grpc::InsecureServerCredentials(), descriptors_.administrators, "admin",
                   builder, &admin_server_, &admin_listener_);
  }

  const DescriptorPlan descriptors_;
  const std::unique_ptr<TlsCopies> tls_;  // Used by the watchdog's thread; gRPC reads the copies.
  std::unique_ptr<Serving> serving_;      // Outlives the gRPC server and so all calls.
  RawService service_;
  RawService texts_;
  ModelReloader reloader_;
  AdminService admin_service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
  Mutex mutex_;
  bool leaves_ ABSL_GUARDED_BY(mutex_) = false;  // True: health says NOT_SERVING for good.
  // The time when Alive() first saw that a step loop hangs.
  std::optional<SteadyTime> hangs_since_ ABSL_GUARDED_BY(mutex_);
  // Null unless a drain stops listening. Its thread exists from the start: at the time of the drain
  // there may be none to be had.
  std::unique_ptr<Worker> drainer_;
  std::unique_ptr<GatewayPort> gateway_;
  std::unique_ptr<Timers> watchdog_;
  std::unique_ptr<HttpEndpoint> metrics_;
  std::unique_ptr<grpc::Server> admin_server_;
  std::unique_ptr<Listener> admin_listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::vector<std::shared_ptr<const Model>> models,
    const ServerHooks& hooks) {
  LEAPSTREAM_RETURN_IF_ERROR(ParseAddress(options.listen).status());
  std::unique_ptr<TlsCopies> tls;
  if (!options.tls.certificate.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(tls, TlsCopies::Of(options.tls));
  }
  const DescriptorPlan descriptors = PlanDescriptors();
  const int64_t available = AvailableMemory();
  int max_sessions =
      options.max_sessions > 0 ? options.max_sessions : DefaultMaxSessions(models, available);
  if (max_sessions > descriptors.sessions) {
    spdlog::warn(
        "{} sessions at once instead of {}{}: each may come over a connection of its own, and this "
        "process may have {} descriptors; raise their limit (ulimit -Hn, LimitNOFILE=)",
        descriptors.sessions, max_sessions,
        options.max_sessions > 0 ? " (max_sessions)" : ", which memory would hold",
        descriptors.limit);
    max_sessions = descriptors.sessions;
  }
  const int64_t max_state_bytes =
      options.max_state_bytes > 0 ? options.max_state_bytes
                                  : DefaultMaxStateBytes(models, available, max_sessions);
  ServerOptions served_options = options;
  served_options.max_state_message_bytes = MessageBytes(options.max_message_bytes, models);
  for (const auto& model : models) {
    LEAPSTREAM_RETURN_IF_ERROR(ReserveStates(*model, 0, max_sessions));
  }
  std::map<std::string, std::vector<GlossaryTerm>> glossaries;
  for (const auto& [name, file] : options.glossary_files) {
    LEAPSTREAM_ASSIGN_OR_RETURN(glossaries[name], ReadGlossary(file));
  }
  auto metrics = std::make_unique<Metrics>();
  LEAPSTREAM_ASSIGN_OR_RETURN(
      std::unique_ptr<ServedModels> served,
      ServedModels::Create(std::move(models), options.replicas, metrics.get(), max_state_bytes,
                           std::move(glossaries)));
  absl::StatusOr<ResumeSigner> signer = options.resume_key_file.empty()
                                            ? ResumeSigner::WithRandomKey()
                                            : ResumeSigner::WithKeyFrom(options.resume_key_file);
  if (!signer.ok()) return signer.status();
  std::unique_ptr<TokenFile> tokens;
  if (!options.auth_tokens_file.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(tokens, TokenFile::Open(options.auth_tokens_file));
  }
  auto server = std::make_unique<GrpcServer>(
      std::make_unique<Serving>(served_options, max_sessions,
                                options.text_bytes > 0 ? options.text_bytes : TextBytes(available),
                                *std::move(signer), std::move(tokens), std::move(metrics),
                                std::move(served)),
      std::move(tls), descriptors, hooks);
  LEAPSTREAM_RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leapstream
