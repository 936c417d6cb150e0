#include "server/wire/open_request.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"
#include "server/wire/session_config.h"
#include "server/wire/source_reader.h"
#include "server/wire/terms.h"
#include "server/wire/text_segmentation.h"
#include "server/wire/to_proto.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

// Finds the versions of the model that the session may have begun with.
absl::StatusOr<std::vector<std::shared_ptr<Scheduler>>> FindVersions(
    const ResumeToken& token, const std::shared_ptr<Scheduler>& current,
    const ServedModels& models) {
  auto versions = models.Versions(current, token.model_checksum);
  if (!versions.empty()) return versions;
  const ModelInfo& info = current->model()->info;
  return WithReason(absl::FailedPreconditionError(absl::StrCat(
                        "the session used the model with checksum ", token.model_checksum, ", but ",
                        info.name, " has ", info.checksum, "; start a new session")),
                    "RESUME_MODEL_MISMATCH");
}

// Checks that the token was given for this session, principal and config.
absl::Status CheckOwner(const v1::ResumeRequest& resume, const ResumeToken& token,
                        absl::string_view principal, const std::string& config_digest) {
  if (token.session_id != resume.session_id()) {
    return InvalidRequest("RESUME_TOKEN_INVALID",
                          "the resume token is another session's; send that of session_id");
  }
  // A token of an older server names no principal. A caller with a name might have it from somebody
  // else, so it is good for callers without a name only.
  if (token.owner.has_value() ? *token.owner != OwnerOf(principal) : !principal.empty()) {
    return InvalidRequest("RESUME_TOKEN_INVALID",
                          "the resume token was not given to this principal; resume with the token "
                          "or certificate that the session began with, or start a new session");
  }
  if (token.config_digest == config_digest) return absl::OkStatus();
  return WithReason(absl::FailedPreconditionError(
                        "policy, languages, input format, limits and the server's glossary must be "
                        "those that the session began with; send the same config, or start a new "
                        "session"),
                    "RESUME_CONFIG_MISMATCH");
}

absl::Status CheckSequence(const v1::ResumeRequest& resume, const ResumeToken& token,
                           bool server_ends_segments) {
  if (resume.next_source_sequence() <= token.source.chunks) {
    return InvalidRequest(
        "SEQUENCE_MISMATCH",
        absl::StrCat("next_source_sequence must be the number of the open segment's first chunk, "
                     "and above the consumed_source_sequence ",
                     token.source.chunks, " that came with this resume token, got ",
                     resume.next_source_sequence()));
  }
  if (server_ends_segments && resume.next_source_sequence() != token.source.chunks + 1) {
    return InvalidRequest("SEQUENCE_MISMATCH",
                          absl::StrCat("where the server ends segments, next_source_sequence must "
                                       "be ",
                                       token.source.chunks + 1,
                                       ", one more than consumed_source_sequence came with this "
                                       "resume token, got ",
                                       resume.next_source_sequence()));
  }
  return absl::OkStatus();
}

absl::Status CheckCommitted(const v1::ResumeRequest& resume, const Model& model, TokenId end) {
  for (const TokenId id : resume.committed_target().ids()) {
    if (id >= 0 && id < model.target_vocabulary.size() && id != end) continue;
    return InvalidRequest("RESUME_TARGET_INVALID",
                          absl::StrCat("committed_target has ", id,
                                       ", which is no target token; send the ids as received"));
  }
  const int tokens = resume.committed_target().ids_size();
  const int reads = resume.committed_source_tokens_read_size();
  if (reads == 0 || reads == tokens) return absl::OkStatus();
  return InvalidRequest("RESUME_TARGET_INVALID",
                        absl::StrCat("committed_source_tokens_read must have one number for each "
                                     "of the ",
                                     tokens, " tokens of committed_target or none, got ", reads,
                                     "; send the tokens' source_tokens_read as received"));
}

void Resume(const v1::ResumeRequest& resume, ResumeToken token, OpenRequest* request) {
  request->resumed_id = token.session_id;
  ResumePoint& start = request->start;
  start.segment = token.segment;
  start.before = token.before;
  // A client whose audio came near its limit begins within its own segment.
  const bool begins_there =
      request->server_ends_segments() ||
      (request->is_audio() && resume.next_source_sequence() == token.source.chunks + 1);
  if (begins_there) {
    start.source = token.source;
    start.skipped = token.drops;
    start.in_text = token.in_text;
    if (request->sentences) start.begin = token.begin;
  } else {
    start.source = {resume.next_source_sequence() - 1, 0, token.source.audio};
  }
  ResumeFrom& from = request->from;
  from.segment = token.segment;
  from.before = std::move(token.before);
  from.committed.assign(resume.committed_target().ids().begin(),
                        resume.committed_target().ids().end());
  from.source_read.assign(resume.committed_source_tokens_read().begin(),
                          resume.committed_source_tokens_read().end());
  if (request->options.next_segments) {
    from.in_text = token.in_text;
    from.skip_tokens = token.drops;
  }
}

// The request for sessions of this scheduler, but for what a resume says.
absl::StatusOr<OpenRequest> ReadFor(std::shared_ptr<Scheduler> scheduler, LanguagePair languages,
                                    const v1::SessionConfig& config, const Serving& serving) {
  OpenRequest request;
  request.scheduler = std::move(scheduler);
  const Model& model = *request.scheduler->model();
  const SessionLimits& limits = serving.options.limits;
  LEAPSTREAM_ASSIGN_OR_RETURN(request.options, ToSessionOptions(config, limits, model.info));
  request.options.languages = std::move(languages);
  LEAPSTREAM_ASSIGN_OR_RETURN(request.pause,
                              ToPauseRule(config, serving.options.pause, model.info));
  LEAPSTREAM_ASSIGN_OR_RETURN(request.sentences, EndsSentences(config, model.info));
  // Otherwise a translation that ends within a sentence would drop text that no client knows of.
  if (request.sentences) request.options.next_segments = true;
  LEAPSTREAM_RETURN_IF_ERROR(ReadTerms(config, *request.scheduler, &request.options));
  request.effective = EffectiveConfig(config, request.options, model.info);
  if (model.info.speech.has_value()) {
    *request.effective.mutable_pause_detection() = ToProto(request.pause);
  }
  if (request.sentences) {
    request.effective.set_text_segmentation(v1::TEXT_SEGMENTATION_SENTENCES);
  }
  request.effective.set_keep_markup(request.options.keep_markup);
  if (config.has_glossary()) *request.effective.mutable_glossary() = config.glossary();
  request.config_digest = ConfigDigest(request.effective, request.options);
  request.start.segment = request.from.segment;
  request.idle_timeout = IdleTimeout(config, limits);
  *request.effective.mutable_idle_timeout() = ToProto(request.idle_timeout);
  return request;
}

}  // namespace

absl::StatusOr<OpenRequest> ReadOpenRequest(const v1::SessionConfig& config, const Serving& serving,
                                            absl::string_view principal) {
  const bool speech = IsAudio(config.input_format()) || config.sample_rate_hertz() != 0 ||
                      config.has_pause_detection();
  const ModelRequest asked = {config.model(), config.source_language_code(),
                              config.target_language_code(), speech};
  LEAPSTREAM_ASSIGN_OR_RETURN(ServedModels::Choice choice, serving.models->Find(asked));
  if (!config.has_resume()) {
    return ReadFor(choice.scheduler, std::move(choice.languages), config, serving);
  }
  const v1::ResumeRequest& resume = config.resume();
  LEAPSTREAM_ASSIGN_OR_RETURN(ResumeToken token,
                              serving.signer.Verify(resume.resume_token(), absl::Now()));
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto versions,
                              FindVersions(token, choice.scheduler, *serving.models));
  OpenRequest request;
  for (const std::shared_ptr<Scheduler>& version : versions) {
    // Another version of the model may have other languages, or another glossary.
    LEAPSTREAM_ASSIGN_OR_RETURN(choice.languages, ChooseLanguages(asked, version->model()->info));
    LEAPSTREAM_ASSIGN_OR_RETURN(request,
                                ReadFor(version, std::move(choice.languages), config, serving));
    if (request.config_digest == token.config_digest) break;
  }
  const Model& model = *request.scheduler->model();
  LEAPSTREAM_RETURN_IF_ERROR(CheckOwner(resume, token, principal, request.config_digest));
  LEAPSTREAM_RETURN_IF_ERROR(CheckSequence(resume, token, request.server_ends_segments()));
  LEAPSTREAM_ASSIGN_OR_RETURN(const Frame frame, model.FrameOf(request.options.languages));
  LEAPSTREAM_RETURN_IF_ERROR(CheckCommitted(resume, model, frame.end));
  Resume(resume, std::move(token), &request);
  return request;
}

v1::SessionStarted ToStarted(const OpenRequest& request, const SessionLimits& limits,
                             const std::string& session_id) {
  const ModelInfo& model = request.scheduler->model()->info;
  v1::SessionStarted started;
  *started.mutable_effective_config() = request.effective;
  started.set_session_id(session_id);
  started.set_model(model.name);
  started.set_model_checksum(model.checksum);
  started.set_resumed(!request.resumed_id.empty());
  v1::SessionLimits& told = *started.mutable_limits();
  told.set_max_chunk_bytes(limits.max_chunk_bytes);
  const SessionOptions& options = request.options;
  told.set_max_source_tokens_per_segment(SourceLimit(options, model));
  told.set_max_target_tokens_per_segment(TargetCap(options, model));
  if (model.speech.has_value()) {
    *told.mutable_max_audio_per_segment() = ToProto(AudioLimit(options, model));
  }
  *told.mutable_idle_timeout() = ToProto(request.idle_timeout);
  *told.mutable_max_session_duration() = ToProto(limits.max_session_duration);
  return started;
}

}  // namespace leapstream
