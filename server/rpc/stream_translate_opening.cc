// The part of StreamTranslateCall that opens the session, on the opener's thread.

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "server/admission.h"
#include "server/rpc/stream_translate_call.h"
#include "server/status_mapping.h"
#include "server/wire/to_proto.h"
#include "streaming/glossary.h"

namespace leapstream {
namespace {

// A resume point comes after so much audio that no segment needs; see ResumePoints::AfterAudio().
constexpr int kSecondsPerPoint = 10;

ResumePoints::Source SourceOf(const OpenRequest& request) {
  if (!request.is_audio()) return ResumePoints::Source::kText;
  return request.pause.on() ? ResumePoints::Source::kAudioWithPauses : ResumePoints::Source::kAudio;
}

}  // namespace

void StreamTranslateCall::OpenInTurn(const v1::SessionConfig& config) {
  {
    MutexLock lock(&mutex_);
    last_received_ = SteadyNow();
    if (over() || outbox_.broken()) return;  // The call was ended meanwhile.
    phase_ = Phase::kOpening;
  }
  absl::Status status = Open(config);
  if (!status.ok()) {
    {
      MutexLock lock(&mutex_);
      if (phase_ == Phase::kOpening) phase_ = Phase::kQueued;  // Fail() then ends it.
    }
    return Fail(std::move(status));
  }
  ReadOn();
}

absl::Status StreamTranslateCall::Open(const v1::SessionConfig& config) {
  if (!config.has_resume()) {
    MutexLock lock(&mutex_);
    if (refusal_.ok()) refusal_ = usage_.Available();
    if (!refusal_.ok()) return refusal_;
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(request_, ReadOpenRequest(config, *serving_, caller_.principal));
  // The call keeps only these tokens of the message, each with its number of source tokens, and its
  // glossary.
  int64_t kept = static_cast<int64_t>(request_.from.committed.size() * 2 * sizeof(TokenId));
  if (config.has_glossary() && request_.options.glossary != nullptr) {
    kept += request_.options.glossary->bytes();
  }
  LEAPSTREAM_RETURN_IF_ERROR(config_bytes_.GrowTo(kept));
  config_bytes_.ShrinkTo(kept);
  output_ = config.output();
  if (!request_.resumed_id.empty()) report_.SetId(request_.resumed_id);
  report_.SetModel(request_.scheduler->model()->info.name, request_.options);
  points_.Start(request_.start, SourceOf(request_),
                int64_t{request_.options.sample_rate} * kSecondsPerPoint);
  if (request_.sentences) points_.set_by_sentences();
  source_.emplace(request_, serving_->options.limits.max_chunk_bytes, &points_, &usage_,
                  serving_->accounts.SourceOf(report_.id()));
  {
    MutexLock lock(&mutex_);
    if (failed_.has_value()) return *failed_;  // The call was ended meanwhile.
    deadlines_.set_idle_timeout(request_.idle_timeout);
  }
  LEAPSTREAM_RETURN_IF_ERROR(OpenSession());
  return Announce();
}

absl::Status StreamTranslateCall::OpenSession() {
  request_.from.takes_place = serving_->admission.Holds(request_.resumed_id);
  sink_reference_ = shared_from_this();
  absl::StatusOr<std::shared_ptr<Session>> session =
      request_.scheduler->Open(request_.options, this, std::move(request_.from));
  if (session.ok()) {
    MutexLock lock(&mutex_);
    session_ = *std::move(session);
    if (phase_ == Phase::kOpening) phase_ = Phase::kOpened;
    return absl::OkStatus();
  }
  sink_reference_.reset();
  return NotOpened(session.status());
}

absl::Status StreamTranslateCall::Announce() {
  std::shared_ptr<Session> session;
  std::optional<absl::Status> failed;
  {
    MutexLock lock(&mutex_);
    if (over()) return absl::OkStatus();  // It takes nobody's place.
    session = session_;
    failed = failed_;
  }
  const Admission::Claimed claimed =
      failed.has_value() ? Admission::Claimed()
                         : serving_->admission.Claim(report_.id(), shared_from_this());
  bool refused = false;
  {
    MutexLock lock(&mutex_);
    if (claimed.admitted) refusal_ = absl::OkStatus();
    refused = !refusal_.ok();
    if (refused && !failed.has_value()) failed = refusal_;
  }
  if (!refused) {
    report_.Started(!request_.resumed_id.empty());
    usage_.Began(Method::kStreamTranslate);
  }
  if (failed.has_value()) {
    session->Cancel(*std::move(failed));
    return absl::OkStatus();  // OnFinished() will get the status.
  }
  if (claimed.previous != nullptr) {
    claimed.previous->End(
        WithReason(absl::AbortedError("the session was resumed by another stream"), "SUPERSEDED"));
  }
  v1::StreamTranslateResponse response;
  *response.mutable_started() = ToStarted(request_, serving_->options.limits, report_.id());
  Send(std::move(response));
  SendResumePoint(request_.start);
  bool departs = false;
  {
    MutexLock lock(&mutex_);
    if (phase_ == Phase::kOpened) phase_ = Phase::kAnnounced;
    departs = deadlines_.departure().has_value();
    WakeAt(deadlines_.first_deadline(Activity()));
  }
  if (departs) Depart();
  return absl::OkStatus();
}

}  // namespace leapstream
