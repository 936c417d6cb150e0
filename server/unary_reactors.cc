#include "server/unary_reactors.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/caller.h"
#include "server/effective_config.h"
#include "server/logging.h"
#include "server/metrics.h"
#include "server/status_mapping.h"
#include "streaming/session.h"

namespace leapstream {
namespace {

template <typename Message>
absl::Status Parse(const grpc::ByteBuffer& bytes, Message* message) {
  grpc::ByteBuffer copy(bytes);  // Parsing empties it; a copy shares the bytes.
  if (grpc::SerializationTraits<Message>::Deserialize(&copy, message).ok()) return absl::OkStatus();
  return InvalidRequest("MALFORMED_MESSAGE",
                        absl::StrCat("the message is not a ", Message::descriptor()->name(),
                                     "; is all its text UTF-8?"));
}

template <typename Message>
absl::Status Serialize(const Message& message, grpc::ByteBuffer* bytes) {
  bool own = false;
  const grpc::Status status = grpc::SerializationTraits<Message>::Serialize(message, bytes, &own);
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.error_message());
}

// Used by gRPC until OnDone() and by the step thread until OnFinished(); see TranslateReactor.
class TranslateCall final : public grpc::ServerUnaryReactor,
                            public SessionSink,
                            public LiveCall,
                            public std::enable_shared_from_this<TranslateCall> {
 public:
  TranslateCall(Serving* serving, absl::StatusOr<Caller> caller, grpc::ByteBuffer* response)
      : serving_(serving),
        response_(response),
        caller_(std::move(caller)),
        started_(SteadyNow()),
        call_metrics_(serving->metrics.get(), Method::kTranslate) {
    serving_->models->CallStarted();
  }
  ~TranslateCall() override {
    serving_->admission.Remove(this);
    session_.reset();
    scheduler_.reset();
    serving_->models->CallEnded();  // Last: the server may go then.
  }

  void Start(const grpc::ByteBuffer& request) {
    grpc_reference_ = shared_from_this();
    call_metrics_.Received();
    absl::Status status = caller_.status();
    if (status.ok()) status = serving_->admission.Admit(shared_from_this(), caller_->principal);
    if (!status.ok()) {
      serving_->metrics->SessionRejected(ReasonOf(status));
      call_metrics_.Handled(status.code());
      return Finish(ToGrpcStatus(status));
    }
    status = Open(request);
    if (!status.ok()) ReportAndFinish(status, {});
  }

  void OnCancel() override { End(absl::CancelledError("cancelled by the client")); }
  CallDescription Describe() const override {
    CallDescription call;
    call.method = "Translate";
    call.principal = caller_->principal;
    call.peer = caller_->peer;
    call.trace_id = caller_->trace_id;
    call.started = started_date_;
    call.age = SteadyNow() - started_;
    return call;
  }
  const std::string& token_entry() const override { return caller_->token_entry; }
  void Drain(SteadyTime /*deadline*/) override {}  // It ends by itself.
  void End(absl::Status why) override {
    std::shared_ptr<Session> session;
    {
      MutexLock lock(&mutex_);
      if (!ended_.has_value()) ended_ = why;
      session = session_;
    }
    if (session != nullptr) session->Cancel(std::move(why));
  }
  void OnDone() override { const auto last = std::move(grpc_reference_); }

  void OnEvent(SessionEvent event) override {
    if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      if (completed->segment > 1) translation_.mutable_text()->push_back('\n');
      translation_.mutable_text()->append(completed->text);
    } else if (auto* summary = std::get_if<SessionSummary>(&event)) {
      *translation_.mutable_stats() = ToProto(summary->totals);
      summary_ = *summary;
    }
  }
  void OnFinished(absl::Status status) override {
    const auto self = std::move(sink_reference_);
    if (status.code() == absl::StatusCode::kInternal) {
      spdlog::error("Translate: {}", std::string(status.message()));
      status = absl::InternalError("internal error, see the server's log");
    }
    if (status.ok()) status = Serialize(translation_, response_);
    if (status.ok()) call_metrics_.Sent();
    ReportAndFinish(status, summary_);
  }

 private:
  absl::Status Open(const grpc::ByteBuffer& bytes) {
    v1::TranslateRequest request;
    LEAPSTREAM_RETURN_IF_ERROR(Parse(bytes, &request));
    LEAPSTREAM_ASSIGN_OR_RETURN(
        scheduler_, serving_->models->Find({request.model(), request.source_language_code(),
                                            request.target_language_code()}));
    if (scheduler_->model()->info.speech.has_value()) {
      return InvalidRequest("SOURCE_KIND_MISMATCH",
                            absl::StrCat("model ", scheduler_->model()->info.name,
                                         " takes audio, got text; stream it to StreamTranslate"));
    }
    v1::SessionConfig config;
    config.mutable_policy()->mutable_offline();
    LEAPSTREAM_ASSIGN_OR_RETURN(
        const SessionOptions options,
        ToSessionOptions(config, serving_->options.limits, scheduler_->model()->info));
    sink_reference_ = shared_from_this();
    absl::StatusOr<std::shared_ptr<Session>> session = scheduler_->Open(options, this);
    if (!session.ok()) {
      sink_reference_.reset();
      return session.status();
    }
    std::optional<absl::Status> ended;
    {
      MutexLock lock(&mutex_);
      session_ = *session;
      ended = ended_;
    }
    if (ended.has_value()) (*session)->Cancel(*std::move(ended));
    for (absl::string_view line : absl::StrSplit(request.text(), '\n')) {
      if (!line.empty()) (*session)->Push(std::string(line));
      (*session)->EndSegment();
    }
    (*session)->EndSource();
    return absl::OkStatus();
  }

  // The end of an admitted call.
  void ReportAndFinish(const absl::Status& status, const SessionSummary& summary) {
    serving_->admission.Release(this);
    call_metrics_.Handled(status.code());
    const std::string model = scheduler_ == nullptr ? "" : scheduler_->model()->info.name;
    LogEvent("translate", {{"trace_id", caller_->trace_id},
                           {"principal", caller_->principal},
                           {"peer", caller_->peer},
                           {"model", model},
                           {"segments", summary.segments},
                           {"source_tokens", summary.source_tokens},
                           {"target_tokens", summary.target_tokens},
                           {"seconds", absl::ToDoubleSeconds(SteadyNow() - started_)},
                           {"status", absl::StatusCodeToString(status.code())},
                           {"reason", ReasonOf(status)}});
    Finish(ToGrpcStatus(status));
  }

  Serving* const serving_;
  grpc::ByteBuffer* const response_;
  const absl::StatusOr<Caller> caller_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  CallMetrics call_metrics_;
  std::shared_ptr<Scheduler> scheduler_;  // Set before the session can say anything.
  SessionSummary summary_;                // Of the step thread.
  v1::TranslateResponse translation_;     // Of the step thread.
  std::shared_ptr<TranslateCall> grpc_reference_;
  std::shared_ptr<TranslateCall> sink_reference_;

  Mutex mutex_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);  // Before the session was there, too.
};

absl::StatusOr<v1::ListModelsResponse> Page(const ServedModels& models,
                                            const v1::ListModelsRequest& request) {
  constexpr int kMaxPage = 100;
  if (request.page_size() < 0) {
    return InvalidRequest("INVALID_PAGE_SIZE",
                          absl::StrCat("page_size must not be negative, got ", request.page_size(),
                                       "; leave it unset for ", kMaxPage));
  }
  const int page_size =
      request.page_size() == 0 ? kMaxPage : std::min(request.page_size(), kMaxPage);
  v1::ListModelsResponse response;
  for (const auto& served : models.All()) {
    const ModelInfo& info = served->info;
    if (!request.page_token().empty() && info.name <= request.page_token()) continue;
    if (response.models_size() == page_size) {
      response.set_next_page_token(response.models(page_size - 1).name());
      break;
    }
    v1::Model& model = *response.add_models();
    model.set_name(info.name);
    model.add_source_language_codes(info.source_language);
    model.add_target_language_codes(info.target_language);
    model.set_checksum(info.checksum);
    model.set_default_k(info.default_k);
    if (!info.learned_policy) {  // It takes no k.
      model.set_min_k(info.min_k);
      model.set_max_k(info.max_k);
    }
    model.set_learned_policy(info.learned_policy);
    model.set_state_bytes_per_session(info.state_bytes_per_session);
    model.set_state_bytes_per_token(info.state_bytes_per_token);
    model.set_compute_type(info.compute_type);
    model.set_source_kind(info.speech.has_value() ? v1::SOURCE_KIND_SPEECH : v1::SOURCE_KIND_TEXT);
    if (info.speech.has_value()) {
      *model.mutable_read_duration() =
          ToProto(absl::Seconds(info.speech->SamplesPerRead()) / kSpeechSampleRate);
    }
  }
  return response;
}

}  // namespace

grpc::ServerUnaryReactor* StartTranslate(Serving* serving, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) {
  // OnDone() cannot come before the caller has bound the reactor, so the pointer stays good.
  auto call = std::make_shared<TranslateCall>(
      serving, IdentifyCaller(*context, serving->tokens.get()), response);
  call->Start(*request);
  return call.get();
}

grpc::Status ListModels(const Serving& serving, const grpc::CallbackServerContext& context,
                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  CallMetrics metrics(serving.metrics.get(), Method::kListModels);
  metrics.Received();
  v1::ListModelsRequest parsed;
  absl::Status status = IdentifyCaller(context, serving.tokens.get()).status();
  if (!status.ok()) serving.metrics->SessionRejected(ReasonOf(status));
  if (status.ok()) status = Parse(*request, &parsed);
  if (status.ok()) {
    absl::StatusOr<v1::ListModelsResponse> page = Page(*serving.models, parsed);
    status = page.ok() ? Serialize(*page, response) : page.status();
  }
  if (status.ok()) metrics.Sent();
  metrics.Handled(status.code());
  return ToGrpcStatus(status);
}

}  // namespace leapstream
