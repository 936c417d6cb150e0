#include "server/translate_reactor.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/effective_config.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr size_t kMaxOutbox = 256;  // Messages the client has left unread when reading stops.

v1::InputFormat FormatOf(const v1::SourceChunk& chunk) {
  switch (chunk.content_case()) {
    case v1::SourceChunk::kText:
      return v1::INPUT_FORMAT_TEXT;
    case v1::SourceChunk::kPieces:
      return v1::INPUT_FORMAT_PIECES;
    case v1::SourceChunk::kTokenIds:
      return v1::INPUT_FORMAT_TOKEN_IDS;
    case v1::SourceChunk::CONTENT_NOT_SET:
      break;
  }
  return v1::INPUT_FORMAT_UNSPECIFIED;
}

// Two deltas of one step read as one.
bool Joins(const v1::TargetDelta& a, const v1::TargetDelta& b) {
  return a.segment() == b.segment() && a.source_tokens_read() == b.source_tokens_read();
}

}  // namespace

std::string NewSessionId() {
  char bytes[16] = {};
  // Cannot fail for so few bytes once the kernel's generator is seeded; before that it would wait.
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) return "";
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

TranslateReactor* TranslateReactor::Start(ServedModels* models, bool log_text) {
  std::shared_ptr<TranslateReactor> reactor(new TranslateReactor(models, log_text));
  TranslateReactor* const raw = reactor.get();
  raw->grpc_reference_ = std::move(reactor);
  raw->StartRead(&raw->read_buffer_);
  return raw;
}

TranslateReactor::TranslateReactor(ServedModels* models, bool log_text)
    : models_(models), log_text_(log_text), id_(NewSessionId()), started_(absl::Now()) {
  models_->CallStarted();
}

TranslateReactor::~TranslateReactor() { models_->CallEnded(); }

void TranslateReactor::OnDone() {
  const auto last = std::move(grpc_reference_);  // May free this when it goes.
}

void TranslateReactor::OnReadDone(bool ok) {
  if (!ok) {  // Half-close, or the stream is gone; then OnCancel() comes as well.
    std::shared_ptr<Session> session;
    {
      MutexLock lock(&mutex_);
      session = session_;
    }
    if (session != nullptr) return session->EndSource();
    return Fail(InvalidRequest("CONFIG_MISSING",
                               "the first message must be config, got the end of the stream"));
  }
  v1::StreamTranslateRequest request;
  const grpc::Status parsed =
      grpc::SerializationTraits<v1::StreamTranslateRequest>::Deserialize(&read_buffer_, &request);
  absl::Status status = parsed.ok()
                            ? Receive(request)
                            : InvalidRequest("MALFORMED_MESSAGE",
                                             "the message is not a StreamTranslateRequest; is all "
                                             "its text UTF-8, each chunk cut between characters?");
  if (!status.ok()) return Fail(std::move(status));
  ReadOn();
}

void TranslateReactor::ReadOn() {
  {
    MutexLock lock(&mutex_);
    if (ended_ || final_status_.has_value() || broken_) return;
    if (outbox_.size() >= kMaxOutbox) {
      read_paused_ = true;
      return;
    }
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
    if (request.has_config()) return Open(request.config());
    return InvalidRequest("CONFIG_MISSING", "the first message must be config");
  }
  switch (request.event_case()) {
    case v1::StreamTranslateRequest::kConfig:
      return InvalidRequest("CONFIG_REPEATED",
                            "config must come once, first; open another stream for other settings");
    case v1::StreamTranslateRequest::kSource:
      return ReceiveSource(request.source());
    case v1::StreamTranslateRequest::kEndSegment:
      session->EndSegment();
      return absl::OkStatus();
    case v1::StreamTranslateRequest::kKeepAlive:
      return absl::OkStatus();
    case v1::StreamTranslateRequest::EVENT_NOT_SET:
      break;
  }
  return InvalidRequest("EVENT_MISSING",
                        "a message must have config, source, end_segment or keep_alive, got none "
                        "that this server knows");
}

absl::Status TranslateReactor::Open(const v1::SessionConfig& config) {
  if (config.has_resume()) {
    return WithReason(absl::UnimplementedError("resume is not supported yet; start a new session"),
                      "RESUME_UNSUPPORTED");
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(Scheduler * scheduler,
                              models_->Find({config.model(), config.source_language_code(),
                                             config.target_language_code()}));
  const ModelInfo& model = scheduler->model()->info;
  LEAPSTREAM_ASSIGN_OR_RETURN(const SessionOptions options, ToSessionOptions(config, model));
  v1::StreamTranslateResponse response;
  v1::SessionStarted& started = *response.mutable_started();
  *started.mutable_effective_config() = EffectiveConfig(config, options, model);
  started.set_session_id(id_);
  started.set_model(model.name);
  started.set_model_checksum(model.checksum);
  started.mutable_limits()->set_max_chunk_bytes(kMaxChunkBytes);
  started.mutable_limits()->set_max_source_tokens_per_segment(
      model.max_source_tokens > 0 ? std::min(model.max_source_tokens, options.max_source_tokens)
                                  : options.max_source_tokens);
  input_format_ = started.effective_config().input_format();

  {
    MutexLock lock(&mutex_);
    if (failed_.has_value()) return *failed_;  // Cancelled meanwhile.
    opening_ = true;                           // From here on Fail() leaves the end to this thread.
  }
  output_ = config.output();
  model_name_ = model.name;
  policy_ = ToString(options.policy);
  sink_reference_ = shared_from_this();
  absl::StatusOr<std::shared_ptr<Session>> session = scheduler->Open(options, this);
  if (!session.ok()) sink_reference_.reset();
  std::optional<absl::Status> failed;
  {
    MutexLock lock(&mutex_);
    opening_ = false;
    if (session.ok()) session_ = *session;
    failed = failed_;
  }
  if (!session.ok()) {
    return WithReason(session.status(),
                      session.status().code() == absl::StatusCode::kInvalidArgument
                          ? "INVALID_POLICY"
                          : "SESSION_REFUSED");
  }
  if (failed.has_value()) {
    (*session)->Cancel(*std::move(failed));
    return absl::OkStatus();  // OnFinished() will come with it.
  }
  Send(std::move(response));
  return absl::OkStatus();
}

absl::Status TranslateReactor::ReceiveSource(const v1::SourceChunk& chunk) {
  const int64_t expected = last_sequence_ + 1;
  if (chunk.sequence() != 0 && chunk.sequence() != expected) {
    return InvalidRequest(
        "SEQUENCE_MISMATCH",
        absl::StrCat("expected source chunk ", expected, ", got ", chunk.sequence(),
                     "; number chunks 1, 2, 3, ... or not at all"));
  }
  last_sequence_ = expected;
  if (chunk.ByteSizeLong() > kMaxChunkBytes) {
    return InvalidRequest("CHUNK_TOO_LARGE",
                          absl::StrCat("a source chunk may have ", kMaxChunkBytes, " bytes, got ",
                                       chunk.ByteSizeLong(), "; send it in several"));
  }
  const v1::InputFormat format = FormatOf(chunk);
  if (format == v1::INPUT_FORMAT_UNSPECIFIED) {
    return InvalidRequest("CONTENT_MISSING", "a source chunk must have text, pieces or token_ids");
  }
  if (format != input_format_) {
    return InvalidRequest(
        "INPUT_FORMAT_MISMATCH",
        absl::StrCat("the session's input_format is ", v1::InputFormat_Name(input_format_),
                     ", got a chunk of ", v1::InputFormat_Name(format)));
  }
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    session = session_;
  }
  if (format == v1::INPUT_FORMAT_TEXT) {
    session->Push(chunk.text());
  } else if (format == v1::INPUT_FORMAT_PIECES) {
    session->Push(
        std::vector<std::string>(chunk.pieces().pieces().begin(), chunk.pieces().pieces().end()));
  } else {
    session->Push(
        std::vector<TokenId>(chunk.token_ids().ids().begin(), chunk.token_ids().ids().end()));
  }
  return absl::OkStatus();
}

void TranslateReactor::Fail(absl::Status status) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
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
      Send(std::move(rest));
    }
    if (log_text_)
      spdlog::info("session {} segment {}: {}", id_, completed->segment, completed->text);
    v1::SegmentCompleted& proto = *response.mutable_segment_completed();
    proto.set_segment(completed->segment);
    proto.set_text(std::move(completed->text));
    proto.set_finish_reason(ToProto(completed->reason));
    if (output_.segment_stats()) *proto.mutable_stats() = ToProto(completed->stats);
    // What the log says of a session that does not come to its summary.
    ++summary_.segments;
    summary_.source_tokens += completed->stats.source_tokens;
    summary_.target_tokens += completed->stats.target_tokens;
  } else {
    summary_ = std::get<SessionSummary>(std::move(event));
    v1::SessionSummary& proto = *response.mutable_summary();
    proto.set_segments(summary_.segments);
    proto.set_source_tokens(summary_.source_tokens);
    proto.set_target_tokens(summary_.target_tokens);
    if (output_.segment_stats()) *proto.mutable_totals() = ToProto(summary_.totals);
  }
  Send(std::move(response));
}

void TranslateReactor::SendDelta(TargetDelta delta) {
  if (delta.text.empty() && !output_.token_details()) return;
  v1::StreamTranslateResponse response;
  v1::TargetDelta& proto = *response.mutable_target();
  proto.set_sequence(++deltas_);
  proto.set_segment(delta.segment);
  proto.set_text(std::move(delta.text));
  proto.set_source_tokens_read(delta.token.source_tokens_read);
  if (output_.token_details()) {
    v1::TargetToken& token = *proto.add_tokens();
    token.set_id(delta.token.id);
    token.set_piece(std::move(delta.token.piece));
    token.set_source_tokens_read(delta.token.source_tokens_read);
    if (output_.log_probs()) token.set_log_prob(delta.token.log_prob);
    *token.mutable_emit_offset() = ToProto(delta.token.emit_offset);
  }
  {
    MutexLock lock(&mutex_);
    if (!outbox_.empty() && outbox_.back().has_target() && Joins(outbox_.back().target(), proto)) {
      v1::TargetDelta& last = *outbox_.back().mutable_target();
      last.mutable_text()->append(proto.text());
      last.mutable_tokens()->MergeFrom(proto.tokens());
      --deltas_;
      return;
    }
  }
  Send(std::move(response));
}

void TranslateReactor::Send(v1::StreamTranslateResponse response) {
  {
    MutexLock lock(&mutex_);
    if (broken_ || ended_) return;
    outbox_.push_back(std::move(response));
  }
  Pump();
}

void TranslateReactor::OnFinished(absl::Status status) {
  const auto self = std::move(sink_reference_);
  if (status.code() == absl::StatusCode::kInternal) {
    spdlog::error("session {}: {}", id_, std::string(status.message()));
    status = WithReason(
        absl::InternalError(absl::StrCat("internal error, see the server's log; session ", id_)),
        "INTERNAL");
  } else if (status.code() == absl::StatusCode::kInvalidArgument) {
    status = WithReason(std::move(status), "INVALID_SOURCE");
  }
  {
    MutexLock lock(&mutex_);
    final_status_ = std::move(status);
  }
  Pump();
}

void TranslateReactor::OnWriteDone(bool ok) {
  std::shared_ptr<Session> session;
  bool read_on = false;
  {
    MutexLock lock(&mutex_);
    write_in_flight_ = false;
    if (!ok) {
      broken_ = true;
      outbox_.clear();
      session = session_;
    }
    read_on = read_paused_ && outbox_.size() < kMaxOutbox / 2;
    if (read_on) read_paused_ = false;
  }
  if (!ok && session != nullptr) session->Cancel(absl::CancelledError("the stream is gone"));
  if (read_on) ReadOn();
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
      const grpc::Status serialized =
          grpc::SerializationTraits<v1::StreamTranslateResponse>::Serialize(outbox_.front(),
                                                                            &write_buffer_, &own);
      outbox_.pop_front();
      if (!serialized.ok()) spdlog::error("session {}: {}", id_, serialized.error_message());
      write_in_flight_ = write = true;
    } else if (final_status_.has_value()) {
      ended_ = true;
      status = *final_status_;
    } else {
      return;
    }
  }
  if (write) return StartWrite(&write_buffer_);
  LogEnd(status);
  Finish(ToGrpcStatus(status));
}

void TranslateReactor::LogEnd(const absl::Status& status) const {
  spdlog::info(
      "session {} model={} {} segments={} source_tokens={} target_tokens={} seconds={:.3f} "
      "status={}{}{}",
      id_, model_name_.empty() ? "-" : model_name_, policy_.empty() ? "-" : policy_,
      summary_.segments, summary_.source_tokens, summary_.target_tokens,
      absl::ToDoubleSeconds(absl::Now() - started_), absl::StatusCodeToString(status.code()),
      // Messages may quote what the client sent.
      log_text_ && !status.ok() ? ": " : "", log_text_ ? std::string(status.message()) : "");
}

}  // namespace leapstream
