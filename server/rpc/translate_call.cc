#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/sentences/sentence_segmenter.h"
#include "base/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/caller.h"
#include "server/logging.h"
#include "server/rpc/one_message_call.h"
#include "server/rpc/unary_calls.h"
#include "server/status_mapping.h"
#include "server/wire/session_config.h"
#include "server/wire/terms.h"
#include "server/wire/text_segmentation.h"
#include "server/wire/to_proto.h"
#include "streaming/glossary.h"
#include "streaming/session.h"

namespace leapstream {
namespace {

// The most bytes that are cut into sentences before the session's room is looked at again.
constexpr size_t kSegmentedBytes = 4 << 10;

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
        usage_(serving->accounts.Of(caller_.principal)),
        started_(SteadyNow()),
        lasts_(&serving->timers),
        bytes_(&serving->texts) {}
  ~TranslateCall() override { serving_->admission.Remove(this); }

  void Start() {
    usage_.Began(Method::kTranslate);
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
    if (std::holds_alternative<TargetDelta>(event)) usage_.WroteTargetToken();
    if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      if (too_much_) return;
      std::string& text = *translation_.mutable_text();
      if (text.size() + completed->text.size() + 1 > budget::kTranslationBytes) return TooLong();
      // If a line goes on in the next segment, its translations are joined to one line.
      const bool joins = std::exchange(continues_, LineContinues(*completed));
      if (completed->segment > 1 && !(joins && completed->text.empty())) {
        text.push_back(joins ? ' ' : '\n');
      }
      text.append(completed->text);
      if (searches_) AddHypotheses(*completed);
      if (too_much_) return;
      // The text counts twice, since it will be in a message as well.
      const absl::Status room =
          bytes_.GrowTo(
          request_bytes_ +
          2 * (static_cast<int64_t>(text.capacity()) + hypothesis_bytes_));
      if (!room.ok()) {
        too_much_ = true;
        End(room);
      }
    } else if (auto* summary = std::get_if<SessionSummary>(&event)) {
      *translation_.mutable_stats() = ToProto(summary->totals);
      *translation_.mutable_usage() = ToProto(usage_);
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
  void TooLong() {
    if (std::exchange(too_much_, true)) return;
    End(InvalidRequest("TEXT_TOO_LONG",
                       absl::StrCat("the translation is longer than ", budget::kTranslationBytes,
                                    " bytes, which one message may have; send less at once, "
                                    "or stream it to StreamTranslate")));
  }
  // An empty segment has none, but an entry.
  void AddHypotheses(const SegmentCompleted& completed) {
    constexpr int64_t kFieldBytes = 16;  // Of a score and the lengths.
    v1::SegmentHypotheses* const segment = translation_.add_segments();
    hypothesis_bytes_ += kFieldBytes;
    for (const Hypothesis& hypothesis : completed.hypotheses) {
      hypothesis_bytes_ += kFieldBytes + static_cast<int64_t>(hypothesis.text.size());
      v1::Hypothesis* const added = segment->add_hypotheses();
      added->set_text(hypothesis.text);
      added->set_score(hypothesis.score);
    }
    if (static_cast<int64_t>(translation_.text().size()) + hypothesis_bytes_ >
        static_cast<int64_t>(budget::kTranslationBytes)) {
      TooLong();
    }
  }
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
    if (ended.has_value()) status = *std::move(ended);
    if (!status.ok()) return session->Cancel(std::move(status));
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
    serving_->metrics->LanguagesChosen(scheduler_->model()->info.name, languages_);
    if (scheduler_->model()->info.speech.has_value()) {
      return InvalidRequest("SOURCE_KIND_MISMATCH",
                            absl::StrCat("model ", scheduler_->model()->info.name,
                                         " takes audio, got text; stream it to StreamTranslate"));
    }
    LEAPSTREAM_ASSIGN_OR_RETURN(const bool sentences, EndsSentences(request));
    v1::SessionConfig config;
    v1::DecodingPolicy& policy = *config.mutable_policy();
    policy = std::move(*request.mutable_policy());
    policy.set_continue_in_next_segment(true);
    if (request.has_beam_search() && policy.policy_case() == v1::DecodingPolicy::POLICY_NOT_SET) {
      policy.mutable_offline();
    }
    LEAPSTREAM_ASSIGN_OR_RETURN(
        SessionOptions options,
        ToSessionOptions(config, serving_->options.limits, scheduler_->model()->info));
    options.languages = std::move(choice.languages);
    if (request.has_beam_search()) options.beam = ToBeamOptions(request.beam_search());
    LEAPSTREAM_RETURN_IF_ERROR(ReadTerms(request, *scheduler_, &options));
    if (request.has_glossary() && options.glossary != nullptr) {
      request_bytes_ += options.glossary->bytes();
      LEAPSTREAM_RETURN_IF_ERROR(bytes_.GrowTo(request_bytes_ * budget::kBytesPerTextByte));
    }
    searches_ = options.beam.has_value();
    if (sentences) segmenter_.emplace(SentenceRules(options.languages.source));
    text_ = std::move(*request.mutable_text());
    sink_reference_ = std::static_pointer_cast<TranslateCall>(shared_from_this());
    absl::StatusOr<std::shared_ptr<Session>> session = scheduler_->Open(options, this);
    if (!session.ok()) {
      sink_reference_.reset();
      return NotOpened(session.status());
    }
    fed_ = session->get();
    {
      MutexLock lock(&mutex_);
      session_ = *std::move(session);
    }
    return usage_.TakeSource({CharactersIn(text_), absl::ZeroDuration()});
  }

  // Pushes lines as long as the session has room; then OnRoom() goes on. Used by one thread at a
  // time: once HasRoom() was false, this call touches nothing more, and the step thread may call
  // OnRoom().
  void Feed() {
    auto most = static_cast<size_t>(serving_->options.limits.max_chunk_bytes);
    if (segmenter_.has_value()) most = std::min(most, kSegmentedBytes);
    while (!all_fed_ && fed_->HasRoom()) {
      const absl::string_view rest = absl::string_view(text_).substr(next_);
      const absl::string_view line = rest.substr(0, rest.find('\n'));
      const size_t length = WholeCharacters(line, most);
      if (length > 0) PushText(line.substr(0, length));
      next_ += length;
      if (length < line.size()) continue;
      EndLine();
      all_fed_ = next_ == text_.size();
      if (all_fed_) {
        std::string().swap(text_);
        fed_->EndSource();
      } else {
        ++next_;  // Skips the line feed.
      }
    }
  }

  void PushText(absl::string_view text) {
    if (segmenter_.has_value()) return PushParts(segmenter_->Append(text));
    fed_->Push(std::string(text));
  }
  void EndLine() {
    if (segmenter_.has_value()) PushParts(segmenter_->Finish());
    EndSegment(/*ends_line=*/true);
  }
  void PushParts(std::vector<SentenceSegmenter::Part> parts) {
    for (SentenceSegmenter::Part& part : parts) {
      if (!part.text.empty()) fed_->Push(std::move(part.text));
      if (part.ends_segment) EndSegment(/*ends_line=*/false);
    }
  }
  void EndSegment(bool ends_line) {
    {
      MutexLock lock(&mutex_);
      line_ends_.push_back(ends_line);
    }
    fed_->EndSegment();
  }
  // Whether the line of a segment goes on in the next one.
  bool LineContinues(const SegmentCompleted& completed) {
    if (completed.continues_at.has_value()) return true;
    MutexLock lock(&mutex_);
    if (line_ends_.empty()) return false;
    const bool continues = !line_ends_.front();
    line_ends_.pop_front();
    return continues;
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
                           {"source_characters", usage_.source_characters()},
                           {"seconds", absl::ToDoubleSeconds(SteadyNow() - started_)},
                           {"status", absl::StatusCodeToString(status.code())},
                           {"reason", ReasonOf(status)}});
  }

  const Caller caller_;
  CallUsage usage_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  Timer lasts_;  // Ends the call after max_session_duration.
  std::shared_ptr<Scheduler> scheduler_;  // Set before the session has any event.
  LanguagePair languages_;                // The same.
  std::shared_ptr<TranslateCall> sink_reference_;

  // The next five are used by the opener's thread, then by the step thread; see Feed().
  Session* fed_ = nullptr;
  std::string text_;
  size_t next_ = 0;  // The place in text_ from which Feed() goes on.
  bool all_fed_ = false;
  std::optional<SentenceSegmenter> segmenter_;  // It has a value if sentences end segments.

  // The next eight are used by the opener's thread until the session is open, then by the step
  // thread.
  TakenBytes bytes_;
  int64_t request_bytes_ = 0;
  SessionSummary summary_;
  v1::TranslateResponse translation_;
  bool too_much_ = false;
  bool searches_ = false;  // The request has a beam search, and wants its hypotheses.
  int64_t hypothesis_bytes_ = 0;
  bool continues_ = false;  // True: the last complete segment goes on in the next one.

  Mutex mutex_;
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
  // Says of each end of a segment that was fed and is not complete whether it ends a line.
  std::deque<bool> line_ends_ ABSL_GUARDED_BY(mutex_);
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
