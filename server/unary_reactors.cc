#include "server/unary_reactors.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/caller.h"
#include "server/effective_config.h"
#include "server/logging.h"
#include "server/metrics.h"
#include "server/refusing_reactor.h"
#include "server/status_mapping.h"
#include "streaming/session.h"

namespace leapstream {
namespace {

template <typename Message>
absl::Status Parse(grpc::ByteBuffer* bytes, Message* message) {
  if (grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok()) return absl::OkStatus();
  return InvalidRequest("MALFORMED_MESSAGE",
                        absl::StrCat("the message is not a ", Message::descriptor()->name(),
                                     "; is all its text UTF-8?"));
}

SteadyTime After(SteadyTime time, absl::Duration limit) {  // 0: no limit.
  return limit > absl::ZeroDuration() ? time + limit : SteadyTime::InfiniteFuture();
}

// A call that takes one message and answers with one, or with an error. Used by gRPC until
// OnDone(), by a timer, and by whoever answers; each holds a reference.
class OneMessageCall : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public std::enable_shared_from_this<OneMessageCall> {
 public:
  OneMessageCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics)
      : open_(serving->models.get()),
        serving_(serving),
        call_metrics_(metrics),
        requested_(&serving->timers),
        written_(&serving->timers),
        context_(context) {}

  // Reads the message, for which there is as much time as for the first one of a stream.
  void ReadRequest() {
    grpc_reference_ = shared_from_this();
    const absl::Duration limit = serving_->options.limits.config_timeout;
    Unless(&OneMessageCall::requested_, After(SteadyNow(), limit), [limit](OneMessageCall* call) {
      call->Stop(WithReason(absl::AbortedError(absl::StrCat("no message came within ",
                                                            absl::FormatDuration(limit))),
                            "CONFIG_TIMEOUT"));
    });
    StartRead(&request_);
  }

  void OnReadDone(bool ok) final {
    requested_.Done();
    if (!ok) {  // Half-close, or the call is over.
      return Reply(InvalidRequest("MALFORMED_MESSAGE",
                                  "the call must have one message, got the end of the stream"));
    }
    call_metrics_.Received();
    OnRequest(&request_);
  }
  void OnWriteDone(bool ok) final {
    written_.Done();
    FinishWith(ok ? absl::OkStatus() : absl::CancelledError("cancelled by the client"));
  }
  void OnCancel() final { Stop(absl::CancelledError("cancelled by the client")); }
  void OnDone() final {
    {
      MutexLock lock(&context_mutex_);
      context_ = nullptr;
    }
    const auto last = std::move(grpc_reference_);  // May free this when it goes.
  }

 protected:
  // May empty the bytes. Called once at most.
  virtual void OnRequest(grpc::ByteBuffer* bytes) = 0;
  // Ends the call, wherever it is, with an error.
  virtual void Stop(absl::Status why) { Reply(std::move(why)); }
  // The call is over but for its status, which is still to be sent.
  virtual void OnReplied(const absl::Status& status) = 0;

  // Answers, if nobody has: with the message if `status` is OK.
  void Reply(absl::Status status, const google::protobuf::Message* message = nullptr) {
    {
      MutexLock lock(&reply_mutex_);
      if (std::exchange(replied_, true)) return;
    }
    bool own = false;
    if (status.ok()) {
      const grpc::Status serialized =
          grpc::SerializationTraits<google::protobuf::Message>::Serialize(*message, &response_,
                                                                          &own);
      if (!serialized.ok()) status = absl::InternalError(serialized.error_message());
    }
    if (!status.ok()) return FinishWith(status);
    call_metrics_.Sent();
    Unless(&OneMessageCall::written_,
           After(SteadyNow(), serving_->options.limits.stuck_reader_timeout),
           [](OneMessageCall* call) {
             MutexLock lock(&call->context_mutex_);
             if (call->context_ != nullptr) call->context_->TryCancel();
           });
    StartWrite(&response_);
  }

  // A thing that is to be done by a deadline.
  class Awaited {
   public:
    explicit Awaited(Timers* timers) : timer(timers) {}
    void Done() {
      done = true;
      timer.Cancel();
    }

    std::atomic<bool> done{false};
    Timer timer;
  };

  // Calls `then` if a thing is not done by the deadline, nor at a second look.
  void Unless(Awaited OneMessageCall::*thing, SteadyTime deadline,
              std::function<void(OneMessageCall*)> then, LastLook look = {}) {
    At(&(this->*thing).timer, std::max(deadline, look.next()),
       [thing, deadline, then = std::move(then), look](OneMessageCall* call) {
         if ((call->*thing).done) return;
         LastLook again = look;
         if (again.Missed(deadline, SteadyNow(), call->serving_->timers.patience())) {
           return then(call);
         }
         call->Unless(thing, deadline, then, again);
       });
  }
  void At(Timer* timer, SteadyTime time, std::function<void(OneMessageCall*)> then) {
    timer->Set(time, [weak = weak_from_this(), then = std::move(then)] {
      if (const auto self = weak.lock()) then(self.get());
    });
  }

 private:
  const ServedModels::OpenCall open_;

 protected:
  Serving* const serving_;
  CallMetrics call_metrics_;

 private:
  void FinishWith(const absl::Status& status) {
    call_metrics_.Handled(status.code());
    OnReplied(status);
    Finish(ToGrpcStatus(status));
  }

  std::shared_ptr<OneMessageCall> grpc_reference_;
  grpc::ByteBuffer request_, response_;
  Awaited requested_, written_;
  Mutex reply_mutex_;
  bool replied_ ABSL_GUARDED_BY(reply_mutex_) = false;
  Mutex context_mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // Null when done.
};

// The length of the first part of `text` that has `most` bytes or less and ends between characters.
size_t WholeCharacters(absl::string_view text, size_t most) {
  if (text.size() <= most) return text.size();
  size_t length = most;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return length > 0 ? length : most;
}

// What holds for a stream holds here: the session's limits, its permit until the answer is taken,
// and room in its queue, so that lines are pushed as there is some. The step thread uses it until
// OnFinished().
class TranslateCall final : public OneMessageCall, public SessionSink, public LiveCall {
 public:
  TranslateCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics,
                Caller caller)
      : OneMessageCall(serving, context, metrics),
        caller_(std::move(caller)),
        started_(SteadyNow()),
        lasts_(&serving->timers),
        bytes_(&serving->texts) {}
  ~TranslateCall() override { serving_->admission.Remove(this); }

  void Start() {
    const absl::Duration limit = serving_->options.limits.max_session_duration;
    At(&lasts_, After(started_, limit), [limit](OneMessageCall* call) {
      static_cast<TranslateCall*>(call)->End(WithReason(
          absl::AbortedError(absl::StrCat("the translation is not complete after ",
                                          absl::FormatDuration(limit),
                                          ", as long as a session may last; send less at once")),
          "MAX_DURATION"));
    });
    ReadRequest();
  }

  CallDescription Describe() const override {
    CallDescription call;
    call.method = "Translate";
    call.principal = caller_.principal;
    call.peer = caller_.peer;
    call.trace_id = caller_.trace_id;
    call.started = started_date_;
    call.age = SteadyNow() - started_;
    return call;
  }
  const std::string& token_entry() const override { return caller_.token_entry; }
  void Drain(SteadyTime /*deadline*/) override {}  // It ends by itself.
  void End(absl::Status why) override {
    std::shared_ptr<Session> session;
    {
      MutexLock lock(&mutex_);
      if (!ended_.has_value()) ended_ = why;
      session = session_;
      if (session == nullptr && opening_) return;  // Open() will see it.
    }
    if (session != nullptr) return session->Cancel(std::move(why));
    Reply(std::move(why));
  }

  void OnEvent(SessionEvent event) override {
    if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      if (too_much_) return;
      std::string& text = *translation_.mutable_text();
      if (text.size() + completed->text.size() + 1 > budget::kTranslationBytes) {
        if (!std::exchange(too_much_, true)) {
          End(InvalidRequest("TEXT_TOO_LONG",
                             absl::StrCat("the translation is longer than ",
                                          budget::kTranslationBytes,
                                          " bytes, which one message may have; send less at once, "
                                          "or stream it to StreamTranslate")));
        }
        return;
      }
      // What of a line goes on in a next segment stays in that line.
      const bool joins = std::exchange(continues_, completed->continues_at.has_value());
      if (completed->segment > 1 && !(joins && completed->text.empty())) {
        text.push_back(joins ? ' ' : '\n');
      }
      text.append(completed->text);
      // It will be a message as well.
      const absl::Status room =
          bytes_.GrowTo(request_bytes_ + 2 * static_cast<int64_t>(text.capacity()));
      if (!room.ok()) {
        too_much_ = true;
        End(room);
      }
    } else if (auto* summary = std::get_if<SessionSummary>(&event)) {
      *translation_.mutable_stats() = ToProto(summary->totals);
      summary_ = *summary;
    }
  }
  void OnRoom() override { Feed(); }
  void OnFinished(absl::Status status) override {
    const auto self = std::move(sink_reference_);
    if (status.code() == absl::StatusCode::kInternal) {
      spdlog::error("Translate: {}", std::string(status.message()));
      status = absl::InternalError("internal error, see the server's log");
    }
    Reply(std::move(status), &translation_);
    v1::TranslateResponse().Swap(&translation_);
  }

 private:
  void OnRequest(grpc::ByteBuffer* bytes) override {
    serving_->opener.Do([self = shared_from_this(), this, bytes] { OpenInTurn(bytes); });
  }
  // On the opener's thread. The bytes are this call's.
  void OpenInTurn(grpc::ByteBuffer* bytes) {
    {
      MutexLock lock(&mutex_);
      if (ended_.has_value()) return;  // It was answered.
      opening_ = true;                 // From here on End() leaves the answer to this thread.
    }
    absl::Status status = Open(bytes);
    std::optional<absl::Status> ended;
    std::shared_ptr<Session> session;
    {
      MutexLock lock(&mutex_);
      opening_ = false;
      ended = ended_;
      session = session_;
    }
    if (session == nullptr) return Reply(ended.has_value() ? *ended : status);
    if (ended.has_value()) return session->Cancel(*std::move(ended));
    Feed();
  }

  absl::Status Open(grpc::ByteBuffer* bytes) {
    request_bytes_ = static_cast<int64_t>(bytes->Length());
    const absl::Status room = bytes_.GrowTo(request_bytes_ * budget::kBytesPerTextByte);
    if (!room.ok()) {
      bytes->Clear();
      return room;
    }
    v1::TranslateRequest request;
    LEAPSTREAM_RETURN_IF_ERROR(Parse(bytes, &request));
    const auto lines = std::count(request.text().begin(), request.text().end(), '\n') + 1;
    if (lines > budget::kTranslateLines) {
      return InvalidRequest("TOO_MANY_LINES",
                            absl::StrCat("a text may have ", budget::kTranslateLines,
                                         " lines, got ", lines, "; send it in several calls, or "
                                         "stream it to StreamTranslate"));
    }
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
    config.mutable_policy()->set_continue_in_next_segment(true);
    LEAPSTREAM_ASSIGN_OR_RETURN(
        const SessionOptions options,
        ToSessionOptions(config, serving_->options.limits, scheduler_->model()->info));
    text_ = std::move(*request.mutable_text());
    sink_reference_ = std::static_pointer_cast<TranslateCall>(shared_from_this());
    absl::StatusOr<std::shared_ptr<Session>> session = scheduler_->Open(options, this);
    if (!session.ok()) {
      sink_reference_.reset();
      return session.status();
    }
    fed_ = session->get();
    MutexLock lock(&mutex_);
    session_ = *std::move(session);
    return absl::OkStatus();
  }

  // Pushes lines for as long as there is room; OnRoom() goes on. Of one thread at a time: the step
  // thread's turn comes when HasRoom() was false, after which nothing is touched here.
  void Feed() {
    const auto most = static_cast<size_t>(serving_->options.limits.max_chunk_bytes);
    while (!all_fed_ && fed_->HasRoom()) {
      const absl::string_view rest = absl::string_view(text_).substr(next_);
      const absl::string_view line = rest.substr(0, rest.find('\n'));
      const size_t length = WholeCharacters(line, most);
      if (length > 0) fed_->Push(std::string(line.substr(0, length)));
      next_ += length;
      if (length < line.size()) continue;
      fed_->EndSegment();
      all_fed_ = next_ == text_.size();
      if (all_fed_) {
        std::string().swap(text_);
        fed_->EndSource();
      } else {
        ++next_;  // The line's end.
      }
    }
  }

  void Stop(absl::Status why) override { End(std::move(why)); }
  void OnReplied(const absl::Status& status) override {
    serving_->admission.Release(this);
    const std::string model = scheduler_ == nullptr ? "" : scheduler_->model()->info.name;
    LogEvent("translate", {{"trace_id", caller_.trace_id},
                           {"principal", caller_.principal},
                           {"peer", caller_.peer},
                           {"model", model},
                           {"segments", summary_.segments},
                           {"source_tokens", summary_.source_tokens},
                           {"target_tokens", summary_.target_tokens},
                           {"seconds", absl::ToDoubleSeconds(SteadyNow() - started_)},
                           {"status", absl::StatusCodeToString(status.code())},
                           {"reason", ReasonOf(status)}});
  }

  const Caller caller_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  Timer lasts_;  // As long as a session may.
  std::shared_ptr<Scheduler> scheduler_;  // Set before the session can say anything.
  std::shared_ptr<TranslateCall> sink_reference_;

  // Of the thread that opens the session, then of the step thread; see Feed().
  Session* fed_ = nullptr;
  std::string text_;
  size_t next_ = 0;  // What is to be fed next of it.
  bool all_fed_ = false;

  // Of the thread that opens the session until it is open, then of the step thread.
  TakenBytes bytes_;
  int64_t request_bytes_ = 0;
  SessionSummary summary_;
  v1::TranslateResponse translation_;
  bool too_much_ = false;
  bool continues_ = false;  // The segment that was completed last does, in the next one.

  Mutex mutex_;
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
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

class ListModelsCall final : public OneMessageCall {
 public:
  using OneMessageCall::OneMessageCall;

 private:
  void OnRequest(grpc::ByteBuffer* bytes) override {
    v1::ListModelsRequest request;
    const absl::Status status = Parse(bytes, &request);
    if (!status.ok()) return Reply(status);
    const absl::StatusOr<v1::ListModelsResponse> page = Page(*serving_->models, request);
    if (!page.ok()) return Reply(page.status());
    Reply(absl::OkStatus(), &*page);
  }
  void OnReplied(const absl::Status& /*status*/) override {}
};

// Refuses the call and counts that.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Refuse(Serving* serving,
                                                                    CallMetrics metrics,
                                                                    const absl::Status& why) {
  metrics.Handled(why.code());
  serving->metrics->SessionRejected(ReasonOf(why));
  return new RefusingReactor(why);
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartTranslate(
    Serving* serving, grpc::CallbackServerContext* context) {
  const CallMetrics metrics(serving->metrics.get(), Method::kTranslate);
  absl::StatusOr<Caller> caller = IdentifyCaller(*context, serving->tokens.get());
  if (!caller.ok()) return Refuse(serving, metrics, caller.status());
  const std::string principal = caller->principal;
  const auto call = std::make_shared<TranslateCall>(serving, context, metrics, *std::move(caller));
  const absl::Status admitted = serving->admission.Admit(call, principal);
  if (!admitted.ok()) return Refuse(serving, metrics, admitted);
  // OnDone() cannot come before gRPC has bound the reactor, so the pointer stays good.
  call->Start();
  return call.get();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartListModels(
    Serving* serving, grpc::CallbackServerContext* context) {
  const CallMetrics metrics(serving->metrics.get(), Method::kListModels);
  const absl::Status known = IdentifyCaller(*context, serving->tokens.get()).status();
  if (!known.ok()) return Refuse(serving, metrics, known);
  const auto call = std::make_shared<ListModelsCall>(serving, context, metrics);
  call->ReadRequest();
  return call.get();
}

}  // namespace leapstream
