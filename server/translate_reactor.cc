#include "server/translate_reactor.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/server_context.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/status.h"
#include "server/effective_config.h"
#include "server/logging.h"
#include "server/pcm.h"
#include "server/refusing_reactor.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr size_t kMaxOutbox = 1024;     // Messages the client may leave unread, however small.
constexpr int kMessageOverhead = 1024;  // What a message may have besides its content.
constexpr int kSecondsPerPoint = 10;    // Of audio that no segment needs; see PushSegments().
constexpr absl::Duration kMaxNotice = absl::Seconds(30);  // Of the end of a session's time.

// The first message may be larger, when it resumes a session.
bool TooLarge(size_t bytes, bool first, const ServerOptions& options) {
  return !first && bytes > static_cast<size_t>(options.limits.max_chunk_bytes) + kMessageOverhead;
}

absl::Status DepartureStatus(v1::GoingAwayReason reason) {
  if (reason == v1::GOING_AWAY_REASON_DRAINING) return Draining();
  return WithReason(absl::UnavailableError("the session has lasted as long as one may; resume it"),
                    "MAX_DURATION");
}

// What a time limit of 0 means.
SteadyTime After(SteadyTime time, absl::Duration limit) {
  return limit > absl::ZeroDuration() ? time + limit : SteadyTime::InfiniteFuture();
}

v1::InputFormat FormatOf(const v1::SourceChunk& chunk) {
  switch (chunk.content_case()) {
    case v1::SourceChunk::kText:
      return v1::INPUT_FORMAT_TEXT;
    case v1::SourceChunk::kPieces:
      return v1::INPUT_FORMAT_PIECES;
    case v1::SourceChunk::kTokenIds:
      return v1::INPUT_FORMAT_TOKEN_IDS;
    case v1::SourceChunk::kAudio:
      return v1::INPUT_FORMAT_PCM_S16LE;  // Or _F32LE: the bytes do not say.
    case v1::SourceChunk::CONTENT_NOT_SET:
      break;
  }
  return v1::INPUT_FORMAT_UNSPECIFIED;
}

bool IsAudio(v1::InputFormat format) {
  return format == v1::INPUT_FORMAT_PCM_S16LE || format == v1::INPUT_FORMAT_PCM_F32LE;
}

// Two deltas of one step read as one.
bool Joins(const v1::TargetDelta& a, const v1::TargetDelta& b) {
  return a.segment() == b.segment() && a.source_tokens_read() == b.source_tokens_read() &&
         a.source_audio_ms() == b.source_audio_ms();
}

}  // namespace

std::string NewSessionId() {
  char bytes[16] = {};
  // Cannot fail for so few bytes once the kernel's generator is seeded; before that it would wait.
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) return "";
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* TranslateReactor::Start(
    Serving* serving, grpc::CallbackServerContext* context) {
  CallMetrics metrics(serving->metrics.get(), Method::kStreamTranslate);
  const auto refuse = [&](const absl::Status& why) {
    metrics.Handled(why.code());
    serving->metrics->SessionRejected(ReasonOf(why));
    return new RefusingReactor(why);
  };
  absl::StatusOr<Caller> caller = IdentifyCaller(*context, serving->tokens.get());
  if (!caller.ok()) return refuse(caller.status());
  std::shared_ptr<TranslateReactor> reactor(
      new TranslateReactor(serving, context, *std::move(caller), metrics));
  const std::string& principal = reactor->caller_.principal;
  const absl::Status admitted = serving->admission.Admit(reactor, principal);
  if (!admitted.ok() && !serving->admission.Await(reactor, principal)) return refuse(admitted);
  TranslateReactor* const raw = reactor.get();
  {
    MutexLock lock(&raw->mutex_);
    raw->refusal_ = admitted;
    raw->WakeAt(After(raw->started_, raw->ConfigTimeout()));
  }
  raw->grpc_reference_ = std::move(reactor);
  raw->StartRead(&raw->read_buffer_);
  return raw;
}

TranslateReactor::TranslateReactor(Serving* serving, grpc::CallbackServerContext* context,
                                   Caller caller, CallMetrics metrics)
    : open_(serving->models.get()),
      serving_(serving),
      started_(SteadyNow()),
      caller_(std::move(caller)),
      call_metrics_(metrics),
      config_bytes_(&serving->texts),
      id_(NewSessionId()),
      idle_timeout_(serving->options.limits.idle_timeout),
      last_received_(started_),
      last_sent_(started_),
      write_started_(started_),
      timer_(&serving->timers),
      context_(context) {}

TranslateReactor::~TranslateReactor() { serving_->admission.Remove(this); }

void TranslateReactor::OnDone() {
  {
    MutexLock lock(&context_mutex_);
    context_ = nullptr;
  }
  const auto last = std::move(grpc_reference_);  // May free this when it goes.
}

void TranslateReactor::OnReadDone(bool ok) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    session = session_;
    last_received_ = SteadyNow();
    if (!ok) half_closed_ = true;
  }
  if (!ok) {  // Half-close, or the stream is gone; then OnCancel() comes as well.
    if (session != nullptr) return session->EndSource();
    return Fail(InvalidRequest("CONFIG_MISSING",
                               "the first message must be config, got the end of the stream"));
  }
  call_metrics_.Received();
  const ServerOptions& options = serving_->options;
  v1::StreamTranslateRequest request;
  absl::Status status;
  if (session == nullptr) {
    status = config_bytes_.GrowTo(static_cast<int64_t>(read_buffer_.Length()) *
                                  budget::kBytesPerConfigByte);
  }
  if (!status.ok()) {
    read_buffer_.Clear();
  } else if (TooLarge(read_buffer_.Length(), session == nullptr, options)) {
    status = InvalidRequest(
        "CHUNK_TOO_LARGE",
        absl::StrCat("a source chunk may have ", options.limits.max_chunk_bytes,
                     " bytes, got a message of ", read_buffer_.Length(), "; send it in several"));
  } else if (!grpc::SerializationTraits<v1::StreamTranslateRequest>::Deserialize(&read_buffer_,
                                                                                 &request)
                  .ok()) {
    status = InvalidRequest("MALFORMED_MESSAGE",
                            "the message is not a StreamTranslateRequest; is all its text UTF-8, "
                            "each chunk cut between characters?");
  } else if (session == nullptr && request.has_config()) {
    {
      MutexLock lock(&mutex_);
      waits_for_opener_ = true;
    }
    return serving_->opener.Do([self = shared_from_this(), request = std::move(request)] {
      self->OpenInTurn(request.config());
    });
  } else {
    status = Receive(request);
  }
  if (!status.ok()) return Fail(std::move(status));
  ReadOn();
}

void TranslateReactor::OpenInTurn(const v1::SessionConfig& config) {
  {
    MutexLock lock(&mutex_);
    waits_for_opener_ = false;
    last_received_ = SteadyNow();
    if (ended_ || final_status_.has_value() || broken_) return;  // Cancelled meanwhile.
    opening_ = true;  // From here on Fail() leaves the end to this thread, which sets what is told.
  }
  absl::Status status = Open(config);
  if (!status.ok()) {
    {
      MutexLock lock(&mutex_);
      opening_ = false;
    }
    return Fail(std::move(status));
  }
  ReadOn();
}

void TranslateReactor::ReadOn() {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    if (ended_ || final_status_.has_value() || broken_) return;
    session = session_;
    waits_for_room_ = true;
    waits_since_ = SteadyNow();
  }
  if (session == nullptr || session->HasRoom()) OnRoom();
}

void TranslateReactor::OnRoom() {
  {
    MutexLock lock(&mutex_);
    waits_for_room_ = false;
    last_received_ = SteadyNow();
    serving_->metrics->InputHeld(last_received_ - waits_since_);
    if (ended_ || final_status_.has_value() || broken_) return;
  }
  StartRead(&read_buffer_);
}

absl::Status TranslateReactor::Receive(const v1::StreamTranslateRequest& request) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    session = session_;
  }
  if (session == nullptr) {
    return InvalidRequest("CONFIG_MISSING", "the first message must be config");
  }
  switch (request.event_case()) {
    case v1::StreamTranslateRequest::kConfig:
      return InvalidRequest("CONFIG_REPEATED",
                            "config must come once, first; open another stream for other settings");
    case v1::StreamTranslateRequest::kSource:
      return ReceiveSource(request.source());
    case v1::StreamTranslateRequest::kEndSegment: {
      {
        MutexLock lock(&mutex_);
        if (by_pauses_ && !segmenter_->EndSegment(last_sequence_)) return absl::OkStatus();
        boundaries_.push_back({last_sequence_, 0});
      }
      session->EndSegment();
      return absl::OkStatus();
    }
    case v1::StreamTranslateRequest::kKeepAlive:
      return absl::OkStatus();
    case v1::StreamTranslateRequest::EVENT_NOT_SET:
      break;
  }
  return InvalidRequest("EVENT_MISSING",
                        "a message must have config, source, end_segment or keep_alive, got none "
                        "that this server knows");
}

absl::StatusOr<std::shared_ptr<Scheduler>> TranslateReactor::FindResumed(
    const v1::ResumeRequest& request, const std::shared_ptr<Scheduler>& current) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const ResumeToken token,
                              serving_->signer.Verify(request.resume_token(), absl::Now()));
  std::shared_ptr<Scheduler> version = serving_->models->Version(current, token.model_checksum);
  if (version != nullptr) return version;
  const ModelInfo& info = current->model()->info;
  return WithReason(absl::FailedPreconditionError(absl::StrCat(
                        "the session used the model with checksum ", token.model_checksum, ", but ",
                        info.name, " has ", info.checksum, "; start a new session")),
                    "RESUME_MODEL_MISMATCH");
}

absl::StatusOr<ResumeToken> TranslateReactor::CheckResume(const v1::ResumeRequest& request,
                                                          const Model& model,
                                                          bool server_ends) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const ResumeToken token,
                              serving_->signer.Verify(request.resume_token(), absl::Now()));
  if (token.session_id != request.session_id()) {
    return InvalidRequest("RESUME_TOKEN_INVALID",
                          "the resume token is another session's; send that of session_id");
  }
  // A token of an older server names nobody: whoever has a name might have it from somebody else.
  if (token.owner.has_value() ? *token.owner != OwnerOf(caller_.principal)
                              : !caller_.principal.empty()) {
    return InvalidRequest("RESUME_TOKEN_INVALID",
                          "the resume token was not given to this principal; resume with the token "
                          "or certificate that the session began with, or start a new session");
  }
  if (token.config_digest != config_digest_) {
    return WithReason(absl::FailedPreconditionError(
                          "policy, input format and limits must be those that the session began "
                          "with; send the same config, or start a new session"),
                      "RESUME_CONFIG_MISMATCH");
  }
  if (request.next_source_sequence() <= token.source.chunks) {
    return InvalidRequest(
        "SEQUENCE_MISMATCH",
        absl::StrCat("next_source_sequence must be the number of the open segment's first chunk, "
                     "and above the consumed_source_sequence ",
                     token.source.chunks, " that came with this resume token, got ",
                     request.next_source_sequence()));
  }
  if (server_ends && request.next_source_sequence() != token.source.chunks + 1) {
    return InvalidRequest("SEQUENCE_MISMATCH",
                          absl::StrCat("where the server ends segments, next_source_sequence must be ",
                                       token.source.chunks + 1,
                                       ", one more than consumed_source_sequence came with "
                                       "this resume token, got ",
                                       request.next_source_sequence()));
  }
  for (const TokenId id : request.committed_target().ids()) {
    if (id >= 0 && id < model.target_vocabulary.size() && id != kEndOfSentence) continue;
    return InvalidRequest("RESUME_TARGET_INVALID",
                          absl::StrCat("committed_target has ", id,
                                       ", which is no target token; send the ids as received"));
  }
  const int tokens = request.committed_target().ids_size();
  const int reads = request.committed_source_tokens_read_size();
  if (reads != 0 && reads != tokens) {
    return InvalidRequest("RESUME_TARGET_INVALID",
                          absl::StrCat("committed_source_tokens_read must have one number for each "
                                       "of the ",
                                       tokens, " tokens of committed_target or none, got ", reads,
                                       "; send the tokens' source_tokens_read as received"));
  }
  return token;
}

absl::Status TranslateReactor::Open(const v1::SessionConfig& config) {
  if (!config.has_resume()) {
    MutexLock lock(&mutex_);
    if (!refusal_.ok()) return refusal_;
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<Scheduler> scheduler,
                              serving_->models->Find({config.model(), config.source_language_code(),
                                                      config.target_language_code()}));
  if (config.has_resume()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(scheduler, FindResumed(config.resume(), scheduler));
  }
  const ModelInfo& model = scheduler->model()->info;
  const SessionLimits& limits = serving_->options.limits;
  LEAPSTREAM_ASSIGN_OR_RETURN(const SessionOptions options,
                              ToSessionOptions(config, limits, model));
  v1::StreamTranslateResponse response;
  v1::SessionStarted& started = *response.mutable_started();
  LEAPSTREAM_ASSIGN_OR_RETURN(const PauseRule pause,
                              ToPauseRule(config, serving_->options.pause, model));
  *started.mutable_effective_config() = EffectiveConfig(config, options, model);
  if (model.speech.has_value()) {
    *started.mutable_effective_config()->mutable_pause_detection() = ToProto(pause);
  }
  config_digest_ = ConfigDigest(started.effective_config(), options);
  ResumeFrom from;
  ResumeStart start;
  start.segment = from.segment;
  if (config.has_resume()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(ResumeToken token,
                                CheckResume(config.resume(), *scheduler->model(),
                                            pause.on() || options.next_segments));
    id_ = token.session_id;
    from.segment = token.segment;
    from.before = std::move(token.before);
    from.committed.assign(config.resume().committed_target().ids().begin(),
                          config.resume().committed_target().ids().end());
    from.source_read.assign(config.resume().committed_source_tokens_read().begin(),
                            config.resume().committed_source_tokens_read().end());
    start = {token.segment, {config.resume().next_source_sequence() - 1, 0}, 0};
    if (pause.on() || options.next_segments) start = {token.segment, token.source, token.drops};
    if (!pause.on()) first_source_ = start.source;
    if (options.next_segments) from.skip_tokens = token.drops;
  }
  const SessionSummary before = from.before;
  const absl::Duration idle_timeout = IdleTimeout(config, limits);
  *started.mutable_effective_config()->mutable_idle_timeout() = ToProto(idle_timeout);
  started.set_session_id(id_);
  started.set_model(model.name);
  started.set_model_checksum(model.checksum);
  started.set_resumed(config.has_resume());
  v1::SessionLimits& told = *started.mutable_limits();
  told.set_max_chunk_bytes(limits.max_chunk_bytes);
  told.set_max_source_tokens_per_segment(
      model.max_source_tokens > 0 ? std::min(model.max_source_tokens, options.max_source_tokens)
                                  : options.max_source_tokens);
  told.set_max_target_tokens_per_segment(
      model.max_target_tokens > 0 ? std::min(model.max_target_tokens, options.max_target_tokens_cap)
                                  : options.max_target_tokens_cap);
  if (model.speech.has_value()) {
    *told.mutable_max_audio_per_segment() =
        ToProto(absl::Milliseconds(kStateMilliseconds) * told.max_source_tokens_per_segment());
  }
  *told.mutable_idle_timeout() = ToProto(idle_timeout);
  *told.mutable_max_session_duration() = ToProto(limits.max_session_duration);
  input_format_ = started.effective_config().input_format();
  by_pauses_ = pause.on();
  if (by_pauses_) {
    segmenter_.emplace(pause, options.sample_rate, start.source, start.drops);
    samples_per_point_ = int64_t{options.sample_rate} * kSecondsPerPoint;
  }

  {
    MutexLock lock(&mutex_);
    if (failed_.has_value()) return *failed_;  // Cancelled meanwhile.
    idle_timeout_ = idle_timeout;
    first_boundary_ = start.segment;
    last_sequence_ = start.source.chunks;
  }
  output_ = config.output();
  model_name_ = model.name;
  model_checksum_ = model.checksum;
  policy_ = ToString(options.policy);
  lagging_metrics_ = serving_->metrics->ForLagging(model_name_, options.policy);
  scheduler_ = scheduler;
  sink_reference_ = shared_from_this();
  absl::StatusOr<std::shared_ptr<Session>> session =
      scheduler->Open(options, this, std::move(from));
  if (!session.ok()) sink_reference_.reset();
  std::optional<absl::Status> failed;
  {
    MutexLock lock(&mutex_);
    opening_ = false;
    if (session.ok()) session_ = *session;
    failed = failed_;
  }
  if (!session.ok()) {
    return absl::IsInvalidArgument(session.status())
               ? WithReason(session.status(), "INVALID_POLICY")
               : Draining();  // The scheduler refuses nothing else while it is there.
  }
  const Admission::Claimed claimed =
      failed.has_value() ? Admission::Claimed() : serving_->admission.Claim(id_, shared_from_this());
  bool refused = false;
  {
    MutexLock lock(&mutex_);
    if (claimed.admitted) refusal_ = absl::OkStatus();
    refused = !refusal_.ok();
    if (refused && !failed.has_value()) failed = refusal_;
  }
  if (!refused) serving_->metrics->SessionStarted(model_name_, config.has_resume());
  if (failed.has_value()) {
    (*session)->Cancel(*std::move(failed));
    return absl::OkStatus();  // OnFinished() will come with it.
  }
  if (claimed.previous != nullptr) {
    claimed.previous->End(
        WithReason(absl::AbortedError("the session was resumed by another stream"), "SUPERSEDED"));
  }
  Send(std::move(response));
  SendResumePoint(start, before);
  bool departs = false;
  {
    MutexLock lock(&mutex_);
    announced_ = true;
    departs = departure_.has_value();
    const SteadyTime end = After(started_, limits.max_session_duration);
    WakeAt(std::min({After(last_received_, idle_timeout_),
                     end - std::min(kMaxNotice, (end - started_) / 4),
                     After(last_sent_, limits.heartbeat_interval)}));
  }
  if (departs) Depart();
  return absl::OkStatus();
}

absl::Status TranslateReactor::ReceiveSource(const v1::SourceChunk& chunk) {
  {
    MutexLock lock(&mutex_);
    const int64_t expected = last_sequence_ + 1;
    if (chunk.sequence() != 0 && chunk.sequence() != expected) {
      return InvalidRequest(
          "SEQUENCE_MISMATCH",
          absl::StrCat("expected source chunk ", expected, ", got ", chunk.sequence(),
                       "; number chunks 1, 2, 3, ... or not at all"));
    }
    last_sequence_ = expected;
  }
  const int max_chunk_bytes = serving_->options.limits.max_chunk_bytes;
  if (chunk.ByteSizeLong() > static_cast<size_t>(max_chunk_bytes)) {
    return InvalidRequest("CHUNK_TOO_LARGE",
                          absl::StrCat("a source chunk may have ", max_chunk_bytes, " bytes, got ",
                                       chunk.ByteSizeLong(), "; send it in several"));
  }
  const v1::InputFormat format = FormatOf(chunk);
  if (format == v1::INPUT_FORMAT_UNSPECIFIED) {
    return InvalidRequest("CONTENT_MISSING",
                          "a source chunk must have text, pieces, token_ids or audio");
  }
  if (format != input_format_ && !(IsAudio(format) && IsAudio(input_format_))) {
    return InvalidRequest(
        "INPUT_FORMAT_MISMATCH",
        absl::StrCat("the session's input_format is ", v1::InputFormat_Name(input_format_),
                     ", got a chunk of ", v1::InputFormat_Name(format), "; model ", model_name_,
                     " takes ", IsAudio(input_format_) ? "audio" : "text",
                     ", and a session has one form of it"));
  }
  std::shared_ptr<Session> session;
  int64_t chunks_before = 0;
  {
    MutexLock lock(&mutex_);
    session = session_;
    chunks_before = last_sequence_ - 1;
  }
  if (IsAudio(format)) {
    LEAPSTREAM_ASSIGN_OR_RETURN(AudioSamples samples,
                                DecodePcm(chunk.audio(), input_format_ == v1::INPUT_FORMAT_PCM_F32LE
                                                             ? PcmEncoding::kF32Le
                                                             : PcmEncoding::kS16Le));
    if (by_pauses_) {
      PushSegments(*session, chunks_before, samples);
    } else {
      session->Push(std::move(samples));
    }
    return absl::OkStatus();
  }
  SourceInput source = chunk.text();
  if (format == v1::INPUT_FORMAT_PIECES) {
    source =
        std::vector<std::string>(chunk.pieces().pieces().begin(), chunk.pieces().pieces().end());
  } else if (format == v1::INPUT_FORMAT_TOKEN_IDS) {
    source = std::vector<TokenId>(chunk.token_ids().ids().begin(), chunk.token_ids().ids().end());
  }
  LEAPSTREAM_RETURN_IF_ERROR(SkipConsumed(chunks_before, &source));
  session->Push(std::move(source), std::max(SourcePosition{chunks_before, 0}, first_source_));
  return absl::OkStatus();
}

absl::Status TranslateReactor::SkipConsumed(int64_t chunks, SourceInput* source) const {
  if (first_source_.chunks != chunks || first_source_.samples == 0) return absl::OkStatus();
  return std::visit(
      [&](auto& content) -> absl::Status {
        const auto size = static_cast<int64_t>(content.size());
        if (size < first_source_.samples) {
          return InvalidRequest(
              "SEQUENCE_MISMATCH",
              absl::StrCat("the first chunk of a resumed session must be as it was, of which ",
                           first_source_.samples, " were translated, got one of ", size));
        }
        content.erase(content.begin(), content.begin() + first_source_.samples);
        return absl::OkStatus();
      },
      *source);
}

void TranslateReactor::PushSegments(Session& session, int64_t chunks, const AudioSamples& samples) {
  for (PauseSegmenter::Part& part : segmenter_->Append(chunks, samples)) {
    if (!part.samples.empty()) session.Push(std::move(part.samples));
    if (!part.ends_segment) continue;
    {
      MutexLock lock(&mutex_);
      boundaries_.push_back(part.end);
    }
    session.EndSegment();
  }
  // The client keeps what came since the last resume point. There may be hours of quiet, or of
  // noise in a segment that was complete after its first minute.
  samples_since_point_ += static_cast<int64_t>(samples.size());
  const std::optional<SourcePosition> restart = segmenter_->restart();
  const std::optional<SourcePosition> last_loud = segmenter_->last_loud();
  ResumeStart start;
  SessionSummary before;
  {
    MutexLock lock(&mutex_);
    start = resume_start_;
    before = resume_before_;
    const int64_t next = first_boundary_ + static_cast<int64_t>(boundaries_.size());
    const bool long_since = samples_since_point_ >= samples_per_point_;
    if (restart.has_value()) {
      const bool all_complete = start.segment == next;
      if (!all_complete || !(start.drops > 0 || long_since) || !(start.source < *restart)) return;
      start.source = *restart;
      start.drops = 0;
    } else {
      // Segments that are not given out are none of the session's.
      const int64_t open = segmenter_->drops() > 0 ? next - 1 : next;
      const bool open_is_complete = start.drops > 0 && start.segment == open + 1;
      if (!last_loud.has_value() || !open_is_complete || !long_since) return;
      if (!(start.source < *last_loud)) return;
      start.source = *last_loud;
      start.drops = std::max(segmenter_->drops(), 1);
    }
  }
  samples_since_point_ = 0;
  SendResumePoint(start, before);
}

absl::Duration TranslateReactor::ConfigTimeout() const {
  const absl::Duration limit = serving_->options.limits.config_timeout;
  if (refusal_.ok()) return limit;
  return limit > absl::ZeroDuration() ? std::min(limit, budget::kUndecidedTime)
                                      : budget::kUndecidedTime;
}

void TranslateReactor::Fail(absl::Status status) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    // Whatever its first message was: it took nobody's place.
    if (!refusal_.ok() && !absl::IsCancelled(status)) status = refusal_;
    if (session_ == nullptr) {
      if (!failed_.has_value()) failed_ = status;
      if (opening_) return;  // Open() will see it.
      if (!final_status_.has_value()) final_status_ = *failed_;
    }
    session = session_;
  }
  if (session != nullptr) return session->Cancel(std::move(status));
  Pump();
}

void TranslateReactor::OnCancel() { Fail(absl::CancelledError("cancelled by the client")); }

void TranslateReactor::OnEvent(SessionEvent event) {
  if (auto* delta = std::get_if<TargetDelta>(&event)) return SendDelta(*std::move(delta));
  v1::StreamTranslateResponse response;
  if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
    if (!completed->unsent.empty()) {
      v1::StreamTranslateResponse rest;
      rest.mutable_target()->set_sequence(++deltas_);
      rest.mutable_target()->set_segment(completed->segment);
      rest.mutable_target()->set_text(std::move(completed->unsent));
      rest.mutable_target()->set_source_tokens_read(completed->stats.source_tokens);
      rest.mutable_target()->set_source_audio_ms(
          absl::ToDoubleMilliseconds(completed->stats.source_audio));
      Send(std::move(rest));
    }
    if (serving_->options.log_text)
      spdlog::info("session {} segment {}: {}", id_, completed->segment, completed->text);
    // A segment may be complete before its source is: then all chunks so far are its own, unless it
    // takes a pause to tell.
    ResumeStart start;
    {
      MutexLock lock(&mutex_);
      if (by_pauses_) start = resume_start_;
      while (!boundaries_.empty() && first_boundary_ < completed->segment) {
        // In the quiet after it there may have been a point that is further on.
        if (start.source < boundaries_.front()) start = {0, boundaries_.front(), 0};
        boundaries_.pop_front();
        ++first_boundary_;
      }
      if (completed->continues_at.has_value()) {
        start = {0, *completed->continues_at, completed->continues_after_tokens};
        first_boundary_ = completed->segment + 1;  // What would have ended this one ends the next.
      } else if (!boundaries_.empty()) {
        start = {0, boundaries_.front(), 0};
      } else if (by_pauses_) {
        ++start.drops;
      } else {
        start.source.chunks = last_sequence_;
      }
      start.segment = completed->segment + 1;
    }
    // Before the event itself: whoever has this one can resume after it.
    SendResumePoint(start, completed->so_far);
    v1::SegmentCompleted& proto = *response.mutable_segment_completed();
    proto.set_segment(completed->segment);
    proto.set_text(std::move(completed->text));
    proto.set_finish_reason(ToProto(completed->reason));
    if (output_.segment_stats()) *proto.mutable_stats() = ToProto(completed->stats);
    proto.set_untranslated_source_tokens(completed->untranslated_source_tokens);
    proto.set_source_dropped(completed->source_dropped);
    proto.set_continues(completed->continues_at.has_value());
    CountUntranslated(*completed);
    lagging_metrics_.Observe(completed->stats);
    // What is reported of a session that does not come to its summary.
    MutexLock lock(&mutex_);
    ++summary_.segments;
    summary_.source_tokens += completed->stats.source_tokens;
    summary_.target_tokens += completed->stats.target_tokens;
  } else {
    const auto& summary = std::get<SessionSummary>(event);
    v1::SessionSummary& proto = *response.mutable_summary();
    proto.set_segments(summary.segments);
    proto.set_source_tokens(summary.source_tokens);
    proto.set_target_tokens(summary.target_tokens);
    proto.set_untranslated_source_tokens(summary.untranslated_source_tokens);
    proto.set_dropped_source_bytes(summary.dropped_source_bytes);
    CountDropped(summary.dropped_source_bytes);
    if (output_.segment_stats()) *proto.mutable_totals() = ToProto(summary.totals);
    MutexLock lock(&mutex_);
    summary_ = summary;
  }
  Send(std::move(response));
}

void TranslateReactor::CountUntranslated(const SegmentCompleted& completed) {
  const bool continues = completed.continues_at.has_value();
  const char* cut = nullptr;
  if (completed.reason == FinishReason::kMaxLength) cut = "max_length";
  if (completed.reason == FinishReason::kSourceLimit && !continues) cut = "source_limit";
  if (completed.reason == FinishReason::kEndOfSentence && completed.source_dropped) {
    cut = "early_end";
  }
  serving_->metrics->SegmentCompleted(model_name_, cut, completed.untranslated_source_tokens);
  CountDropped(completed.so_far.dropped_source_bytes);
}

void TranslateReactor::CountDropped(int64_t bytes) {
  if (bytes <= dropped_bytes_) return;
  serving_->metrics->SourceDropped(model_name_, bytes - dropped_bytes_);
  dropped_bytes_ = bytes;
}

void TranslateReactor::SendDelta(TargetDelta delta) {
  if (delta.text.empty() && !output_.token_details()) return;
  v1::StreamTranslateResponse response;
  v1::TargetDelta& proto = *response.mutable_target();
  proto.set_sequence(++deltas_);
  proto.set_segment(delta.segment);
  proto.set_text(std::move(delta.text));
  proto.set_source_tokens_read(delta.token.source_tokens_read);
  const double audio_ms = absl::ToDoubleMilliseconds(delta.token.source_audio);
  proto.set_source_audio_ms(audio_ms);
  if (output_.token_details()) {
    v1::TargetToken& token = *proto.add_tokens();
    token.set_id(delta.token.id);
    token.set_piece(std::move(delta.token.piece));
    token.set_source_tokens_read(delta.token.source_tokens_read);
    token.set_source_audio_ms(audio_ms);
    if (output_.log_probs()) token.set_log_prob(delta.token.log_prob);
    *token.mutable_emit_offset() = ToProto(delta.token.emit_offset);
  }
  {
    MutexLock lock(&mutex_);
    if (!outbox_.empty() && outbox_.back().has_target() && Joins(outbox_.back().target(), proto)) {
      v1::TargetDelta& last = *outbox_.back().mutable_target();
      last.mutable_text()->append(proto.text());
      last.mutable_tokens()->MergeFrom(proto.tokens());
      outbox_bytes_ += static_cast<int64_t>(proto.ByteSizeLong());
      --deltas_;
      HoldIfFull();
      return;
    }
  }
  Send(std::move(response));
}

void TranslateReactor::SendResumePoint(const ResumeStart& start, const SessionSummary& before) {
  ResumeToken token;
  token.session_id = id_;
  token.owner = OwnerOf(caller_.principal);
  token.model_checksum = model_checksum_;
  token.config_digest = config_digest_;
  token.segment = start.segment;
  token.source = start.source;
  token.drops = start.drops;
  token.before = before;
  token.expires = absl::Now() + serving_->options.resume_lifetime;
  v1::StreamTranslateResponse response;
  v1::ResumePoint& point = *response.mutable_resume_point();
  point.set_resume_token(serving_->signer.Sign(token));
  point.set_consumed_source_sequence(start.source.chunks);
  point.set_segment(start.segment);
  {
    MutexLock lock(&mutex_);
    if (start.segment < resume_start_.segment) return;  // A refresh that came too late.
    if (start.segment == resume_start_.segment && start.source < resume_start_.source) return;
    resume_start_ = start;
    resume_before_ = before;
    resume_expires_ = token.expires;
    resume_refresh_ = SteadyNow() + serving_->options.resume_lifetime / 2;
    WakeAt(resume_refresh_);
    Enqueue(std::move(response));
  }
  Pump();
}

void TranslateReactor::Send(v1::StreamTranslateResponse response) {
  {
    MutexLock lock(&mutex_);
    Enqueue(std::move(response));
  }
  Pump();
}

void TranslateReactor::Enqueue(v1::StreamTranslateResponse response) {
  if (broken_ || ended_) return;
  outbox_bytes_ += static_cast<int64_t>(response.ByteSizeLong());
  outbox_.push_back(std::move(response));
  HoldIfFull();
}

void TranslateReactor::HoldIfFull() {
  const bool full =
      outbox_bytes_ > serving_->options.limits.max_unread_bytes || outbox_.size() > kMaxOutbox;
  if (!full || held_ || session_ == nullptr) return;
  held_ = true;
  held_since_ = SteadyNow();
  session_->Hold();  // Under the lock, so that Release() comes after it.
}

void TranslateReactor::OnFinished(absl::Status status) {
  const auto self = std::move(sink_reference_);
  if (status.code() == absl::StatusCode::kInternal) {
    spdlog::error("session {}: {}", id_, std::string(status.message()));
    status = WithReason(
        absl::InternalError(absl::StrCat("internal error, see the server's log; session ", id_)),
        "INTERNAL");
  } else if (status.code() == absl::StatusCode::kInvalidArgument) {
    const bool committed = status.GetPayload(kCommittedTargetPayload).has_value();
    status = WithReason(std::move(status), committed ? "RESUME_TARGET_INVALID" : "INVALID_SOURCE");
  }
  // Of the session itself: what others end it with has its reason.
  if (absl::IsResourceExhausted(status) &&
      ReasonOf(status) == absl::StatusCodeToString(status.code())) {
    status = WithReason(std::move(status), "STATE_MEMORY_EXHAUSTED");
  }
  {
    MutexLock lock(&mutex_);
    final_status_ = std::move(status);
  }
  Pump();
}

void TranslateReactor::OnWriteDone(bool ok) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    write_in_flight_ = false;
    last_sent_ = SteadyNow();
    if (!ok) {
      broken_ = true;
      outbox_.clear();
      outbox_bytes_ = 0;
      session = session_;
    }
  }
  if (!ok && session != nullptr) session->Cancel(absl::CancelledError("the stream is gone"));
  Pump();
}

void TranslateReactor::Pump() {
  absl::Status status;
  bool write = false;
  {
    MutexLock lock(&mutex_);
    if (write_in_flight_ || ended_) return;
    if (!outbox_.empty()) {
      bool own = false;
      write_buffer_.Clear();
      outbox_bytes_ -= static_cast<int64_t>(outbox_.front().ByteSizeLong());
      const grpc::Status serialized =
          grpc::SerializationTraits<v1::StreamTranslateResponse>::Serialize(outbox_.front(),
                                                                            &write_buffer_, &own);
      outbox_.pop_front();
      if (outbox_.empty()) outbox_bytes_ = 0;  // Joined messages count a little too much.
      if (!serialized.ok()) spdlog::error("session {}: {}", id_, serialized.error_message());
      write_in_flight_ = write = true;
      write_started_ = SteadyNow();
      WakeAt(After(write_started_, serving_->options.limits.stuck_reader_timeout));
      if (held_ && outbox_bytes_ <= serving_->options.limits.max_unread_bytes / 2 &&
          outbox_.size() <= kMaxOutbox / 2) {
        held_ = false;
        serving_->metrics->OutputHeld(SteadyNow() - held_since_);
        session_->Release();
      }
    } else if (final_status_.has_value()) {
      ended_ = true;
      status = *final_status_;
    } else {
      return;
    }
  }
  if (write) {
    call_metrics_.Sent();
    return StartWrite(&write_buffer_);
  }
  serving_->admission.Release(this);
  ReportEnd(status);
  Finish(ToGrpcStatus(status));
}

void TranslateReactor::Drain(SteadyTime deadline) {
  GoAway({v1::GOING_AWAY_REASON_DRAINING, deadline});
}

void TranslateReactor::GoAway(Departure departure) {
  bool unknown = false, announced = false;
  {
    MutexLock lock(&mutex_);
    if (ended_ || final_status_.has_value() || departure_.has_value()) return;
    unknown = session_ == nullptr && !opening_;
    announced = announced_;
    departure_ = departure;  // Open() will see it.
  }
  if (unknown) return Fail(DepartureStatus(departure.reason));
  if (announced) Depart();
}

void TranslateReactor::Depart() {
  v1::StreamTranslateResponse response;
  std::shared_ptr<Session> session;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    session = session_;
    v1::GoingAway& going_away = *response.mutable_going_away();
    going_away.set_reason(departure_->reason);
    *going_away.mutable_remaining_duration() =
        ToProto(std::max(departure_->deadline - SteadyNow(), absl::ZeroDuration()));
    status = DepartureStatus(departure_->reason);
    WakeAt(departure_->deadline);
  }
  Send(std::move(response));
  session->EndAfterSegment(std::move(status));
}

void TranslateReactor::WakeAt(SteadyTime time) {
  if (time >= wakes_at_) return;
  wakes_at_ = time;
  timer_.Set(time, [weak = weak_from_this(), time] {
    if (const auto self = weak.lock()) self->OnTime(time);
  });
}

void TranslateReactor::OnTime(SteadyTime planned) {
  const SessionLimits& limits = serving_->options.limits;
  const SteadyTime now = SteadyNow();
  const SteadyTime patience = serving_->timers.patience();
  std::optional<absl::Status> end;
  std::optional<Departure> departure;
  std::optional<ResumeStart> refresh;
  SessionSummary before;
  bool heartbeat = false, give_up = false;
  {
    MutexLock lock(&mutex_);
    if (planned != wakes_at_ || ended_) return;  // Another one was planned since.
    wakes_at_ = SteadyTime::InfiniteFuture();
    SteadyTime next = SteadyTime::InfiniteFuture();
    // Whether `time` has come; else it is a time to look again.
    const auto due = [&](SteadyTime time) {
      if (time > now) next = std::min(next, time);
      return time <= now;
    };
    // The same of what the client should have done by then.
    const auto missed = [&](SteadyTime deadline, LastLook* look) {
      if (look->Missed(deadline, now, patience)) return true;
      next = std::min(next, look->next());
      return false;
    };
    if (write_in_flight_ && limits.stuck_reader_timeout > absl::ZeroDuration()) {
      if (!stuck_since_.has_value() &&
          missed(write_started_ + limits.stuck_reader_timeout, &stuck_look_)) {
        stuck_since_ = now;
        broken_ = true;
        const bool cut = !outbox_.empty();
        outbox_.clear();
        outbox_bytes_ = 0;
        end = WithReason(
            absl::AbortedError(absl::StrCat("the client took no message for ",
                                            absl::FormatDuration(limits.stuck_reader_timeout),
                                            "; read faster, or start a new session")),
            "READER_STUCK");
        if (cut && final_status_.has_value()) final_status_ = end;  // It was over, but not told.
      }
      // The status waits behind the message that is not taken; in the end only a reset is left.
      // From now, not from the message: on a busy machine this may have been noticed late.
      if (stuck_since_.has_value()) give_up = due(*stuck_since_ + limits.stuck_reader_timeout);
    }
    if (session_ == nullptr && !opening_ && !waits_for_opener_ &&
        missed(After(started_, ConfigTimeout()), &config_look_)) {
      end = WithReason(absl::AbortedError(absl::StrCat(
                           "no config came within ", absl::FormatDuration(limits.config_timeout))),
                       "CONFIG_TIMEOUT");
    }
    if (announced_ && !final_status_.has_value()) {
      if (waits_for_room_) {
        due(After(now, idle_timeout_));
      } else if (!half_closed_ && missed(After(last_received_, idle_timeout_), &idle_look_)) {
        end = WithReason(absl::AbortedError(absl::StrCat(
                             "nothing came for ", absl::FormatDuration(idle_timeout_),
                             "; send keep_alive, or resume the session when there is more")),
                         "IDLE_TIMEOUT");
      }
      const SteadyTime last = After(started_, limits.max_session_duration);
      const absl::Duration notice = std::min(kMaxNotice, limits.max_session_duration / 4);
      if (!departure_.has_value() && due(last - notice)) {  // From now: this may be late.
        departure = Departure{v1::GOING_AWAY_REASON_MAX_DURATION, now + notice};
      }
      if (departure_.has_value() && !departure_over_ && due(departure_->deadline)) {
        if (now - departure_->deadline >= LastLook::kGrace && patience > now &&
            !std::exchange(departure_delayed_, true)) {
          departure_->deadline = patience;
          due(patience);
        } else {
          departure_over_ = true;
          end = DepartureStatus(departure_->reason);
        }
      }
      const SteadyTime silent_until = After(last_sent_, limits.heartbeat_interval);
      heartbeat = !write_in_flight_ && outbox_.empty() && due(silent_until);
      if (heartbeat || write_in_flight_) due(After(now, limits.heartbeat_interval));
      // By the date, too, since that of an expiry may come sooner than a duration is over.
      if (due(resume_refresh_) ||
          absl::Now() > resume_expires_ - serving_->options.resume_lifetime / 2) {
        refresh = resume_start_;
        before = resume_before_;
      }
    }
    WakeAt(next);
  }
  if (end.has_value()) Fail(*std::move(end));
  if (departure.has_value()) GoAway(*departure);
  if (refresh.has_value()) SendResumePoint(*refresh, before);
  if (heartbeat) {
    v1::StreamTranslateResponse response;
    response.mutable_heartbeat();
    Send(std::move(response));
  }
  if (give_up) {
    MutexLock lock(&context_mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
}

CallDescription TranslateReactor::Describe() const {
  CallDescription call;
  call.method = "StreamTranslate";
  call.principal = caller_.principal;
  call.peer = caller_.peer;
  call.trace_id = caller_.trace_id;
  call.started = started_date_;
  call.age = SteadyNow() - started_;
  MutexLock lock(&mutex_);
  if (announced_) {
    call.session_id = id_;
    call.model = model_name_;
    call.policy = policy_;
  }
  call.segments = summary_.segments;
  call.source_tokens = summary_.source_tokens;
  call.target_tokens = summary_.target_tokens;
  call.input_held = waits_for_room_;
  call.output_held = held_;
  return call;
}

void TranslateReactor::ReportEnd(absl::Status status) {
  SessionSummary summary;
  bool gone = false, refused = false;
  {
    MutexLock lock(&mutex_);
    summary = summary_;
    gone = broken_;
    refused = !refusal_.ok();
  }
  if (refused) {
    call_metrics_.Handled(status.code());
    serving_->metrics->SessionRejected(ReasonOf(status));
    return;
  }
  if (!gone) {
    MutexLock lock(&context_mutex_);
    gone = context_ == nullptr || context_->IsCancelled();
  }
  // A client that goes away ends its source, too, and that may come first.
  if (gone && status.ok()) status = absl::CancelledError("cancelled by the client");
  call_metrics_.Handled(status.code());
  serving_->metrics->SessionFinished(model_name_, status);
  LogEvent("session", {{"session", id_},
                       {"trace_id", caller_.trace_id},
                       {"principal", caller_.principal},
                       {"peer", caller_.peer},
                       {"model", model_name_},
                       {"policy", policy_},
                       {"segments", summary.segments},
                       {"source_tokens", summary.source_tokens},
                       {"target_tokens", summary.target_tokens},
                       {"seconds", absl::ToDoubleSeconds(SteadyNow() - started_)},
                       {"status", absl::StatusCodeToString(status.code())},
                       {"reason", ReasonOf(status)},
                       // Messages may quote what the client sent.
                       {"error", serving_->options.log_text ? std::string(status.message()) : ""}});
}

}  // namespace leapstream
