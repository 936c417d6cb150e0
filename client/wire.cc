#include "client/wire.h"

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/duration.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace leapstream::client {
namespace {

using client::FromProto;

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kErrorDomain[] = "leapstream";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

void ToProto(absl::Duration duration, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

BeamSearch FromProto(const pb::BeamSearch& beam) {
  BeamSearch result;
  result.beam = beam.beam();
  if (beam.has_length_penalty()) result.length_penalty = beam.length_penalty();
  if (beam.has_min_length()) result.min_length = beam.min_length();
  result.max_length_a = beam.max_length_a();
  result.max_length_b = beam.max_length_b();
  result.no_repeat_ngram = beam.no_repeat_ngram();
  result.n_best = beam.n_best();
  return result;
}

PolicyRule RuleOf(const pb::DecodingPolicy& policy) {
  switch (policy.policy_case()) {
    case pb::DecodingPolicy::kWaitK:
      return WaitK{policy.wait_k().k(), policy.wait_k().write_stride(),
                   policy.wait_k().count_words()};
    case pb::DecodingPolicy::kOffline:
      return Offline();
    case pb::DecodingPolicy::kLearned:
      return Learned();
    case pb::DecodingPolicy::kLocalAgreement:
      return LocalAgreement{policy.local_agreement().n(), policy.local_agreement().max_lag()};
    case pb::DecodingPolicy::kHoldN:
      return HoldN{policy.hold_n().n(), policy.hold_n().max_lag()};
    case pb::DecodingPolicy::kAlignAtt:
      return AlignAtt{policy.align_att().frames(), policy.align_att().max_lag()};
    case pb::DecodingPolicy::kAdaptiveWaitK: {
      const pb::AdaptiveWaitK& adaptive = policy.adaptive_wait_k();
      return AdaptiveWaitK{adaptive.min_k(), adaptive.max_k(), adaptive.min_k_threshold(),
                           adaptive.max_k_threshold()};
    }
    case pb::DecodingPolicy::POLICY_NOT_SET:  // It may be a rule of a newer server.
      break;
  }
  return {};
}

Policy FromProto(const pb::DecodingPolicy& policy) {
  Policy result;
  result.rule = RuleOf(policy);
  result.read_tokens = policy.read_tokens();
  result.read_words = policy.read_words();
  result.read_ms = policy.read_ms();
  result.past = static_cast<Past>(policy.past());  // Same numbers.
  if (policy.has_prefix_end()) result.prefix_end = policy.prefix_end();
  return result;
}

// SetRule() writes a rule to the message; there is one per kind of rule.
void SetRule(std::monostate, pb::DecodingPolicy*) {}
void SetRule(const WaitK& rule, pb::DecodingPolicy* policy) {
  policy->mutable_wait_k()->set_k(rule.k);
  policy->mutable_wait_k()->set_write_stride(rule.write_stride);
  policy->mutable_wait_k()->set_count_words(rule.count_words);
}
void SetRule(const Offline&, pb::DecodingPolicy* policy) { policy->mutable_offline(); }
void SetRule(const Learned&, pb::DecodingPolicy* policy) { policy->mutable_learned(); }
void SetRule(const LocalAgreement& rule, pb::DecodingPolicy* policy) {
  policy->mutable_local_agreement()->set_n(rule.n);
  policy->mutable_local_agreement()->set_max_lag(rule.max_lag);
}
void SetRule(const HoldN& rule, pb::DecodingPolicy* policy) {
  policy->mutable_hold_n()->set_n(rule.n);
  policy->mutable_hold_n()->set_max_lag(rule.max_lag);
}
void SetRule(const AlignAtt& rule, pb::DecodingPolicy* policy) {
  policy->mutable_align_att()->set_frames(rule.frames);
  policy->mutable_align_att()->set_max_lag(rule.max_lag);
}
void SetRule(const AdaptiveWaitK& rule, pb::DecodingPolicy* policy) {
  pb::AdaptiveWaitK& adaptive = *policy->mutable_adaptive_wait_k();
  adaptive.set_min_k(rule.min_k);
  adaptive.set_max_k(rule.max_k);
  adaptive.set_min_k_threshold(rule.min_k_threshold);
  adaptive.set_max_k_threshold(rule.max_k_threshold);
}

}  // namespace

void SetGlossary(const std::vector<Term>& terms, pb::Glossary* message) {
  for (const Term& term : terms) {
    pb::Term* const added = message->add_terms();
    added->set_source(term.source);
    added->set_target(term.target);
  }
}

void SetPolicy(const Policy& policy, pb::DecodingPolicy* message) {
  std::visit([&](const auto& rule) { SetRule(rule, message); }, policy.rule);
  message->set_read_tokens(policy.read_tokens);
  message->set_read_words(policy.read_words);
  message->set_read_ms(policy.read_ms);
  message->set_past(static_cast<pb::Past>(policy.past));  // Same numbers.
  if (policy.prefix_end.has_value()) message->set_prefix_end(*policy.prefix_end);
}

namespace {

StreamOptions FromProto(const pb::SessionConfig& config) {
  StreamOptions options;
  options.model = config.model();
  options.source_language_code = config.source_language_code();
  options.target_language_code = config.target_language_code();
  options.policy = FromProto(config.policy());
  options.early_end = static_cast<EarlyEnd>(config.policy().early_end());
  options.next_segments = config.policy().continue_in_next_segment();
  options.sentences = config.text_segmentation() == pb::TEXT_SEGMENTATION_SENTENCES;
  for (const pb::Term& term : config.glossary().terms()) {
    options.glossary.push_back({term.source(), term.target()});
  }
  options.keep_markup = config.keep_markup();
  options.max_target_tokens = config.policy().max_target_tokens();
  if (config.policy().has_beam_search()) options.beam = FromProto(config.policy().beam_search());
  if (config.input_format() == pb::INPUT_FORMAT_PCM_S16LE) options.audio = AudioFormat::kPcmS16Le;
  if (config.input_format() == pb::INPUT_FORMAT_PCM_F32LE) options.audio = AudioFormat::kPcmF32Le;
  options.sample_rate = config.sample_rate_hertz();
  if (config.has_pause_detection()) {
    options.pause = FromProto(config.pause_detection().min_duration());
    options.pause_threshold_db = config.pause_detection().threshold_db();
  }
  options.token_details = config.output().token_details();
  options.log_probs = config.output().log_probs();
  options.segment_stats = config.output().segment_stats();
  options.idle_timeout = FromProto(config.idle_timeout());
  return options;
}

// `lagging` is a SegmentStats or a Lagging: the fields have the same names.
template <typename Proto>
Lagging LaggingOf(const Proto& lagging) {
  Lagging result;
  result.average_lagging = lagging.average_lagging();
  result.length_adaptive_average_lagging = lagging.length_adaptive_average_lagging();
  result.average_proportion = lagging.average_proportion();
  result.differentiable_average_lagging = lagging.differentiable_average_lagging();
  result.average_token_delay = lagging.average_token_delay();
  result.start_offset = lagging.start_offset();
  result.end_offset = lagging.end_offset();
  if (lagging.has_yet_another_average_lagging()) {
    result.yet_another_average_lagging = lagging.yet_another_average_lagging();
  }
  return result;
}

SegmentStats FromProto(const pb::SegmentStats& stats) {
  SegmentStats result;
  static_cast<Lagging&>(result) = LaggingOf(stats);
  result.source_tokens = stats.source_tokens();
  result.target_tokens = stats.target_tokens();
  if (stats.has_words()) result.words = LaggingOf(stats.words());
  if (stats.has_computation_aware()) {
    result.computation_aware = LaggingOf(stats.computation_aware());
  }
  if (stats.has_words_computation_aware()) {
    result.words_computation_aware = LaggingOf(stats.words_computation_aware());
  }
  result.first_token = FromProto(stats.first_token_duration());
  result.compute = FromProto(stats.compute_duration());
  result.queue = FromProto(stats.queue_duration());
  result.source_audio_ms = stats.source_audio_ms();
  result.encoder_rows = stats.encoder_rows();
  result.decoder_rows = stats.decoder_rows();
  result.decoder_steps = stats.decoder_steps();
  return result;
}

}  // namespace

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    // HAProxy follows a server's last words with a reset, and gRPC makes CANCELLED of that: what
    // the server said is in the details.
    if (details.code() != 0) {
      result = absl::Status(static_cast<absl::StatusCode>(details.code()), details.message());
    }
    for (const auto& detail : details.details()) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

bool IsFromServer(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrorInfoUrl);
  google::rpc::ErrorInfo info;  // A gateway may send one of its own.
  return payload.has_value() && info.ParseFromString(std::string(*payload)) &&
         info.domain() == kErrorDomain;
}

absl::Status WithMessage(const absl::Status& status, absl::string_view message) {
  absl::Status result(status.code(), message);
  status.ForEachPayload([&result](absl::string_view url, const absl::Cord& payload) {
    result.SetPayload(url, payload);
  });
  return result;
}

absl::Status WithNote(const absl::Status& status, absl::string_view note) {
  if (status.ok() || note.empty() || IsFromServer(status)) return status;
  return WithMessage(status, absl::StrCat(status.message(), note));
}

absl::Duration RetryDelay(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfoUrl);
  google::rpc::RetryInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) {
    return absl::ZeroDuration();
  }
  return FromProto(info.retry_delay());
}

std::string ErrorReason(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrorInfoUrl);
  google::rpc::ErrorInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return "";
  return info.reason();
}

pb::SessionConfig ToProto(const StreamOptions& options) {
  pb::SessionConfig config;
  config.set_model(options.model);
  config.set_source_language_code(options.source_language_code);
  config.set_target_language_code(options.target_language_code);
  auto* policy = config.mutable_policy();
  SetPolicy(options.policy, policy);
  policy->set_early_end(static_cast<pb::EarlyEnd>(options.early_end));  // Same numbers.
  policy->set_continue_in_next_segment(options.next_segments);
  policy->set_max_target_tokens(options.max_target_tokens);
  if (options.beam.has_value()) *policy->mutable_beam_search() = ToProto(*options.beam);
  if (options.sentences) config.set_text_segmentation(pb::TEXT_SEGMENTATION_SENTENCES);
  if (!options.glossary.empty()) SetGlossary(options.glossary, config.mutable_glossary());
  config.set_keep_markup(options.keep_markup);
  if (options.audio != AudioFormat::kNone) {
    config.set_input_format(options.audio == AudioFormat::kPcmS16Le ? pb::INPUT_FORMAT_PCM_S16LE
                                                                    : pb::INPUT_FORMAT_PCM_F32LE);
    config.set_sample_rate_hertz(options.sample_rate);
  }
  if (options.pause.has_value()) {
    ToProto(*options.pause, config.mutable_pause_detection()->mutable_min_duration());
    config.mutable_pause_detection()->set_threshold_db(options.pause_threshold_db);
  }
  auto* output = config.mutable_output();
  output->set_token_details(options.token_details);
  output->set_log_probs(options.log_probs);
  output->set_segment_stats(options.segment_stats);
  if (options.idle_timeout > absl::ZeroDuration()) {
    ToProto(options.idle_timeout, config.mutable_idle_timeout());
  }
  return config;
}

pb::BeamSearch ToProto(const BeamSearch& beam) {
  pb::BeamSearch result;
  result.set_beam(beam.beam);
  if (beam.length_penalty.has_value()) result.set_length_penalty(*beam.length_penalty);
  if (beam.min_length.has_value()) result.set_min_length(*beam.min_length);
  result.set_max_length_a(beam.max_length_a);
  result.set_max_length_b(beam.max_length_b);
  result.set_no_repeat_ngram(beam.no_repeat_ngram);
  result.set_n_best(beam.n_best);
  return result;
}

TextTranslation FromProto(pb::TranslateResponse response) {
  TextTranslation translation;
  translation.text = std::move(*response.mutable_text());
  for (pb::SegmentHypotheses& segment : *response.mutable_segments()) {
    std::vector<Hypothesis>& hypotheses = translation.segments.emplace_back();
    for (pb::Hypothesis& hypothesis : *segment.mutable_hypotheses()) {
      hypotheses.push_back({std::move(*hypothesis.mutable_text()), hypothesis.score()});
    }
  }
  return translation;
}

std::optional<Event> FromProto(const pb::StreamTranslateResponse& response) {
  switch (response.event_case()) {
    case pb::StreamTranslateResponse::kStarted: {
      const auto& started = response.started();
      Started event;
      event.session_id = started.session_id();
      event.model = started.model();
      event.model_checksum = started.model_checksum();
      event.applied = FromProto(started.effective_config());
      event.limits.max_chunk_bytes = started.limits().max_chunk_bytes();
      event.limits.max_source_tokens_per_segment = started.limits().max_source_tokens_per_segment();
      event.limits.max_session_duration = FromProto(started.limits().max_session_duration());
      event.limits.idle_timeout = FromProto(started.limits().idle_timeout());
      return event;
    }
    case pb::StreamTranslateResponse::kTarget: {
      const auto& target = response.target();
      Delta event;
      event.sequence = target.sequence();
      event.segment = target.segment();
      event.text = target.text();
      event.source_tokens_read = target.source_tokens_read();
      event.source_audio_ms = target.source_audio_ms();
      event.audio_offset_ms = target.audio_offset_ms();
      for (const auto& token : target.tokens()) {
        event.tokens.push_back({token.id(), token.piece(), token.source_tokens_read(),
                                token.log_prob(), FromProto(token.emit_offset()),
                                token.source_audio_ms()});
      }
      return event;
    }
    case pb::StreamTranslateResponse::kSegmentCompleted: {
      const auto& completed = response.segment_completed();
      SegmentCompleted event;
      event.segment = completed.segment();
      event.text = completed.text();
      event.reason = static_cast<FinishReason>(completed.finish_reason());  // Same numbers.
      if (completed.has_stats()) event.stats = FromProto(completed.stats());
      event.untranslated_source_tokens = completed.untranslated_source_tokens();
      event.source_dropped = completed.source_dropped();
      event.continues = completed.continues();
      event.audio_start_ms = completed.audio_start_ms();
      event.audio_end_ms = completed.audio_end_ms();
      return event;
    }
    case pb::StreamTranslateResponse::kGoingAway:
      return GoingAway{FromProto(response.going_away().remaining_duration()),
                       pb::GoingAwayReason_Name(response.going_away().reason())};
    case pb::StreamTranslateResponse::kSummary: {
      const auto& summary = response.summary();
      Summary event = {summary.segments(),
                       summary.source_tokens(),
                       summary.target_tokens(),
                       FromProto(summary.totals()),
                       summary.untranslated_source_tokens(),
                       summary.dropped_source_bytes(),
                       std::nullopt};
      if (summary.has_usage()) {
        event.usage = {summary.usage().source_characters(), summary.usage().source_audio_ms(),
                       summary.usage().target_tokens()};
      }
      return event;
    }
    case pb::StreamTranslateResponse::kResumePoint:
    case pb::StreamTranslateResponse::kHeartbeat:
    case pb::StreamTranslateResponse::EVENT_NOT_SET:  // An event of a newer server, for example.
      break;
  }
  return std::nullopt;
}

}  // namespace leapstream::client
