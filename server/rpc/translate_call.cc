#include <spdlog/spdlog.h>

#include <algorithm>
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
#include "server/logging.h"
#include "server/rpc/one_message_call.h"
#include "server/rpc/unary_calls.h"
#include "server/status_mapping.h"
#include "server/wire/session_config.h"
#include "server/wire/to_proto.h"
#include "streaming/session.h"

namespace leapstream {
namespace {

// The length of the longest start of `text` that has at most `most` bytes and ends between
// characters.
size_t WholeCharacters(absl::string_view text, size_t most) {
  if (text.size() <= most) return text.size();
  size_t length = most;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return length > 0 ? length : most;
}

// A Translate call. The limits of a stream hold for it, too: those of its session, a permit until
// the answer is taken, and a bounded queue, into which lines are pushed as there is room. The step
// thread uses it until OnFinished().
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
    At(&lasts_, EndOf(started_, limit), [limit](OneMessageCall* call) {
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
  void Drain(SteadyTime /*deadline*/) override {}  // The call ends by itself.
  void End(absl::Status why) override {
    std::shared_ptr<Session> session;
    {
      MutexLock lock(&mutex_);
      if (!ended_.has_value()) ended_ = why;
      session = session_;
      if (session == nullptr && opening_) return;  // OpenInTurn() will see it.
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
      // If a line goes on in the next segment, its translations are joined to one line.
      const bool joins = std::exchange(continues_, completed->continues_at.has_value());
      if (completed->segment > 1 && !(joins && completed->text.empty())) {
        text.push_back(joins ? ' ' : '\n');
      }
      text.append(completed->text);
      // The text counts twice, since it will be in a message as well.
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
  // Runs on the opener's thread. `bytes` belongs to this call.
  void OpenInTurn(grpc::ByteBuffer* bytes) {
    {
      MutexLock lock(&mutex_);
      if (ended_.has_value()) return;  // The call has its answer.
      opening_ = true;                 // From now on End() leaves the answer to this thread.
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
        ServedModels::Choice choice,
        serving_->models->Find({request.model(), request.source_language_code(),
                                request.target_language_code()}));
    scheduler_ = std::move(choice.scheduler);
    languages_ = choice.languages;
    if (scheduler_->model()->info.speech.has_value()) {
      return InvalidRequest("SOURCE_KIND_MISMATCH",
                            absl::StrCat("model ", scheduler_->model()->info.name,
                                         " takes audio, got text; stream it to StreamTranslate"));
    }
    v1::SessionConfig config;
    config.mutable_policy()->mutable_offline();
    config.mutable_policy()->set_continue_in_next_segment(true);
    LEAPSTREAM_ASSIGN_OR_RETURN(
        SessionOptions options,
        ToSessionOptions(config, serving_->options.limits, scheduler_->model()->info));
    options.languages = std::move(choice.languages);
    text_ = std::move(*request.mutable_text());
    sink_reference_ = std::static_pointer_cast<TranslateCall>(shared_from_this());
    absl::StatusOr<std::shared_ptr<Session>> session = scheduler_->Open(options, this);
    if (!session.ok()) {
      sink_reference_.reset();
      return NotOpened(session.status());
    }
    fed_ = session->get();
    MutexLock lock(&mutex_);
    session_ = *std::move(session);
    return absl::OkStatus();
  }

  // Pushes lines as long as the session has room; then OnRoom() goes on. Used by one thread at a
  // time: once HasRoom() was false, this call touches nothing more, and the step thread may call
  // OnRoom().
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
        ++next_;  // Skips the line feed.
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
                           {"source_language", languages_.source},
                           {"target_language", languages_.target},
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
  Timer lasts_;  // Ends the call after max_session_duration.
  std::shared_ptr<Scheduler> scheduler_;  // Set before the session has any event.
  LanguagePair languages_;                // The same.
  std::shared_ptr<TranslateCall> sink_reference_;

  // The next four are used by the opener's thread, then by the step thread; see Feed().
  Session* fed_ = nullptr;
  std::string text_;
  size_t next_ = 0;  // The place in text_ from which Feed() goes on.
  bool all_fed_ = false;

  // The next six are used by the opener's thread until the session is open, then by the step
  // thread.
  TakenBytes bytes_;
  int64_t request_bytes_ = 0;
  SessionSummary summary_;
  v1::TranslateResponse translation_;
  bool too_much_ = false;
  bool continues_ = false;  // True: the last complete segment goes on in the next one.

  Mutex mutex_;
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);  // The first status of End().
};

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
  // OnDone() cannot come before gRPC gets the reactor, so the pointer stays good.
  call->Start();
  return call.get();
}

}  // namespace leapstream
