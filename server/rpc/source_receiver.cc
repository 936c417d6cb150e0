#include "server/rpc/source_receiver.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

SourceReader::Form FormOf(const OpenRequest& request, int max_chunk_bytes) {
  SourceReader::Form form;
  form.format = request.effective.input_format();
  form.model_name = request.effective.model();
  form.max_chunk_bytes = max_chunk_bytes;
  form.first = request.start.source;  // Of audio it is segmenter_ that skips.
  return form;
}

// A fingerprint of a chunk's content. The chunks of a session have one form.
uint64_t FingerprintOf(const v1::SourceChunk& chunk) {
  std::string digest;
  if (chunk.has_text()) {
    digest = Sha256(chunk.text());
  } else if (chunk.has_audio()) {
    digest = Sha256(chunk.audio());
  } else {
    digest = Sha256(chunk.has_pieces() ? chunk.pieces().SerializeAsString()
                                       : chunk.token_ids().SerializeAsString());
  }
  uint64_t fingerprint = 0;
  std::memcpy(&fingerprint, digest.data(), std::min(digest.size(), sizeof(fingerprint)));
  return fingerprint;
}

}  // namespace

SourceReceiver::SourceReceiver(const OpenRequest& request, int max_chunk_bytes,
                               ResumePoints* points, CallUsage* usage,
                               std::shared_ptr<CountedSource> counted)
    : reader_(FormOf(request, max_chunk_bytes)),
      model_(request.scheduler->model()),
      sample_rate_(request.options.sample_rate),
      points_(points),
      usage_(usage),
      counted_(std::move(counted)),
      by_pauses_(request.pause.on()) {
  if (request.sentences) {
    sentences_.emplace(request.options.languages.source,
                       request.start.begin.value_or(request.start.source));
  }
  if (!reader_.reads_audio()) return;
  const PauseSegmenter::Input input = {
      request.options.sample_rate, AudioLimit(request.options, request.scheduler->model()->info)};
  const PauseSegmenter::Start start = {request.start.source, request.start.skipped,
                                       request.start.in_text};
  segmenter_.emplace(request.pause, input, start);
}

absl::StatusOr<std::optional<ResumePoint>> SourceReceiver::Receive(
    const v1::StreamTranslateRequest& request, Session& session) {
  switch (request.event_case()) {
    case v1::StreamTranslateRequest::kConfig:
      return InvalidRequest("CONFIG_REPEATED",
                            "config must come once, first; open another stream for other settings");
    case v1::StreamTranslateRequest::kSource:
      return ReceiveSource(request.source(), session);
    case v1::StreamTranslateRequest::kEndSegment:
      EndSegment(session);
      return std::nullopt;
    case v1::StreamTranslateRequest::kKeepAlive:
      return std::nullopt;
    case v1::StreamTranslateRequest::EVENT_NOT_SET:
      break;
  }
  return InvalidRequest("EVENT_MISSING",
                        "a message must have config, source, end_segment or keep_alive, got none "
                        "that this server knows");
}

void SourceReceiver::EndSegment(Session& session) {
  if (segmenter_.has_value()) {
    return PushEnd(session, segmenter_->EndSegment(points_->chunks()));
  }
  if (sentences_.has_value()) PushParts(session, sentences_->Finish());
  points_->EndSegment();
  session.EndSegment();
}

void SourceReceiver::PushPart(Session& session, PauseSegmenter::Part part, Session::End end) {
  if (!part.samples.empty()) session.Push(std::move(part.samples), part.begin);
  if (!part.ends_segment) return;
  points_->EndSegmentAt(part.end, part.is_cut);
  session.EndSegment(end);
}

void SourceReceiver::PushEnd(Session& session, std::optional<PauseSegmenter::Part> part) {
  if (!part.has_value()) return;
  // Without pauses each end of the client's is the end of a segment that it waits for.
  PushPart(session, *std::move(part), by_pauses_ ? Session::End::kUsual : Session::End::kAnswered);
}

void SourceReceiver::Finish(Session& session) {
  if (segmenter_.has_value()) PushEnd(session, segmenter_->Finish(points_->chunks()));
  if (sentences_.has_value()) PushParts(session, sentences_->Finish());
  session.EndSource();
}

void SourceReceiver::PushParts(Session& session, std::vector<SentenceInput::Part> parts) {
  for (SentenceInput::Part& part : parts) {
    if (!part.text.empty()) session.Push(std::move(part.text), part.at);
    if (!part.ends_segment) continue;
    points_->EndSegmentAt(part.end, true);
    session.EndSegment();
  }
}

absl::StatusOr<std::optional<ResumePoint>> SourceReceiver::ReceiveSource(
    const v1::SourceChunk& chunk, Session& session) {
  const int64_t chunks = points_->chunks();
  if (chunk.sequence() != 0 && chunk.sequence() != chunks + 1) {
    return InvalidRequest(
        "SEQUENCE_MISMATCH",
        absl::StrCat("expected source chunk ", chunks + 1, ", got ", chunk.sequence(),
                     "; number chunks 1, 2, 3, ... or not at all"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(SourceInput source, reader_.Read(chunk, chunks));
  LEAPSTREAM_RETURN_IF_ERROR(
      usage_->TakeChunk({chunks, FingerprintOf(chunk)},
                        AmountOf(source, sample_rate_, model_->source_vocabulary), counted_.get()));
  points_->TakeChunk();
  if (segmenter_.has_value()) {
    return PushSegments(session, chunks, std::get<AudioSamples>(source));
  }
  if (sentences_.has_value()) {
    PushParts(session,
              sentences_->Append(std::get<std::string>(std::move(source)), reader_.Begin(chunks)));
  } else {
    session.Push(std::move(source), reader_.Begin(chunks));
  }
  return std::nullopt;
}

std::optional<ResumePoint> SourceReceiver::PushSegments(Session& session, int64_t chunks,
                                                        const AudioSamples& samples) {
  for (PauseSegmenter::Part& part : segmenter_->Append(chunks, samples)) {
    PushPart(session, std::move(part), Session::End::kUsual);
  }
  if (!by_pauses_) return std::nullopt;
  return points_->AfterAudio(*segmenter_, static_cast<int64_t>(samples.size()));
}

}  // namespace leapstream
