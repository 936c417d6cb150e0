#include "client/json/events_json.h"

#include <variant>

#include "absl/strings/str_format.h"
#include "client/json/dump.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::ordered_json;

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.6fs", absl::ToDoubleSeconds(duration));
}

const char* EarlyEndName(EarlyEnd early_end) {
  switch (early_end) {
    case EarlyEnd::kStop:
      return "EARLY_END_STOP";
    case EarlyEnd::kSuppress:
      return "EARLY_END_SUPPRESS";
    case EarlyEnd::kReadOn:
      return "EARLY_END_READ_ON";
    case EarlyEnd::kForceFinish:
      return "EARLY_END_FORCE_FINISH";
    case EarlyEnd::kUnspecified:
      break;
  }
  return "EARLY_END_UNSPECIFIED";
}

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSentence:
      return "FINISH_REASON_END_OF_SENTENCE";
    case FinishReason::kMaxLength:
      return "FINISH_REASON_MAX_LENGTH";
    case FinishReason::kSourceLimit:
      return "FINISH_REASON_SOURCE_LIMIT";
    case FinishReason::kUnspecified:
      break;
  }
  return "FINISH_REASON_UNSPECIFIED";
}

Json ToJson(const Lagging& lagging) {
  Json json = {{"average_lagging", lagging.average_lagging},
               {"length_adaptive_average_lagging", lagging.length_adaptive_average_lagging},
               {"average_proportion", lagging.average_proportion},
               {"differentiable_average_lagging", lagging.differentiable_average_lagging},
               {"average_token_delay", lagging.average_token_delay},
               {"start_offset", lagging.start_offset},
               {"end_offset", lagging.end_offset}};
  if (lagging.yet_another_average_lagging.has_value()) {
    json["yet_another_average_lagging"] = *lagging.yet_another_average_lagging;
  }
  return json;
}

Json Stats(const SegmentStats& stats) {
  Json json = {{"source_tokens", stats.source_tokens}, {"target_tokens", stats.target_tokens}};
  json.update(ToJson(static_cast<const Lagging&>(stats)));
  json["first_token_duration"] = Seconds(stats.first_token);
  json["compute_duration"] = Seconds(stats.compute);
  json["queue_duration"] = Seconds(stats.queue);
  if (stats.words.has_value()) json["words"] = ToJson(*stats.words);
  if (stats.computation_aware.has_value()) {
    json["computation_aware"] = ToJson(*stats.computation_aware);
  }
  if (stats.words_computation_aware.has_value()) {
    json["words_computation_aware"] = ToJson(*stats.words_computation_aware);
  }
  if (stats.source_audio_ms > 0) json["source_audio_ms"] = stats.source_audio_ms;
  if (stats.decoder_rows > 0) {
    json["encoder_rows"] = stats.encoder_rows;
    json["decoder_rows"] = stats.decoder_rows;
    json["decoder_steps"] = stats.decoder_steps;
  }
  return json;
}

// Has only the figures that are defined for a whole session: see SegmentStats in the protocol.
Json Totals(const SegmentStats& totals) {
  Json json = {{"source_tokens", totals.source_tokens},
               {"target_tokens", totals.target_tokens},
               {"average_lagging", totals.average_lagging},
               {"length_adaptive_average_lagging", totals.length_adaptive_average_lagging},
               {"first_token_duration", Seconds(totals.first_token)},
               {"compute_duration", Seconds(totals.compute)},
               {"queue_duration", Seconds(totals.queue)}};
  if (totals.source_audio_ms > 0) json["source_audio_ms"] = totals.source_audio_ms;
  return json;
}

// RuleJson() is the field of DecodingPolicy that a rule is; there is one per kind of rule.
Json RuleJson(std::monostate) { return Json::object(); }
Json RuleJson(const WaitK& rule) {
  Json json = {{"k", rule.k}};
  if (rule.write_stride > 1) json["write_stride"] = rule.write_stride;
  if (rule.count_words) json["count_words"] = true;
  return {{"wait_k", json}};
}
Json RuleJson(const Offline&) { return {{"offline", Json::object()}}; }
Json RuleJson(const Learned&) { return {{"learned", Json::object()}}; }
Json RuleJson(const LocalAgreement& rule) {
  return {{"local_agreement", {{"n", rule.n}, {"max_lag", rule.max_lag}}}};
}
Json RuleJson(const HoldN& rule) {
  return {{"hold_n", {{"n", rule.n}, {"max_lag", rule.max_lag}}}};
}
Json RuleJson(const AlignAtt& rule) {
  return {{"align_att", {{"frames", rule.frames}, {"max_lag", rule.max_lag}}}};
}
Json RuleJson(const AdaptiveWaitK& rule) {
  return {{"adaptive_wait_k",
           {{"min_k", rule.min_k},
            {"max_k", rule.max_k},
            {"min_k_threshold", rule.min_k_threshold},
            {"max_k_threshold", rule.max_k_threshold}}}};
}

Json ToJson(const Policy& policy) {
  Json json = std::visit([](const auto& rule) { return RuleJson(rule); }, policy.rule);
  if (policy.read_tokens > 0) json["read_tokens"] = policy.read_tokens;
  if (policy.read_words > 0) json["read_words"] = policy.read_words;
  if (policy.read_ms > 0) json["read_ms"] = policy.read_ms;
  if (policy.past != Past::kDefault) {
    json["past"] = policy.past == Past::kFrozen ? "PAST_FROZEN" : "PAST_REFRESHED";
  }
  if (policy.prefix_end.has_value()) json["prefix_end"] = *policy.prefix_end;
  return json;
}

struct ToJsonVisitor {
  Json operator()(const Started& e) const {
    Json policy = ToJson(e.applied.policy);
    policy["max_target_tokens"] = e.applied.max_target_tokens;
    policy["early_end"] = EarlyEndName(e.applied.early_end);
    if (e.applied.next_segments) policy["continue_in_next_segment"] = true;
    if (e.applied.beam.has_value()) {
      const BeamSearch& beam = *e.applied.beam;
      policy["beam_search"] = {{"beam", beam.beam},
                               {"length_penalty", beam.length_penalty.value_or(1)},
                               {"min_length", beam.min_length.value_or(1)},
                               {"max_length_a", beam.max_length_a},
                               {"max_length_b", beam.max_length_b},
                               {"no_repeat_ngram", beam.no_repeat_ngram}};
    }
    Json config = {{"model", e.applied.model},
                   {"source_language_code", e.applied.source_language_code},
                   {"target_language_code", e.applied.target_language_code},
                   {"policy", policy}};
    if (e.applied.sentences) config["text_segmentation"] = "TEXT_SEGMENTATION_SENTENCES";
    if (e.applied.audio != AudioFormat::kNone) {
      config["sample_rate_hertz"] = e.applied.sample_rate;
      config["pause_detection"] = {
          {"min_duration", Seconds(e.applied.pause.value_or(absl::ZeroDuration()))},
          {"threshold_db", e.applied.pause_threshold_db}};
    }
    return {{"event", "started"},
            {"session_id", e.session_id},
            {"model", e.model},
            {"model_checksum", e.model_checksum},
            {"effective_config", config},
            {"limits",
             {{"max_chunk_bytes", e.limits.max_chunk_bytes},
              {"max_source_tokens_per_segment", e.limits.max_source_tokens_per_segment},
              {"max_session_duration", Seconds(e.limits.max_session_duration)},
              {"idle_timeout", Seconds(e.limits.idle_timeout)}}}};
  }
  Json operator()(const Delta& e) const {
    Json tokens = Json::array();
    for (const Token& token : e.tokens) {
      tokens.push_back({{"id", token.id},
                        {"piece", token.piece},
                        {"source_tokens_read", token.source_tokens_read},
                        {"log_prob", token.log_prob},
                        {"emit_offset", Seconds(token.emit_offset)}});
      if (token.source_audio_ms > 0) tokens.back()["source_audio_ms"] = token.source_audio_ms;
    }
    Json json = {{"event", "target"},    {"sequence", e.sequence},
                 {"segment", e.segment}, {"text", e.text},
                 {"tokens", tokens},     {"source_tokens_read", e.source_tokens_read}};
    if (e.source_audio_ms > 0) json["source_audio_ms"] = e.source_audio_ms;
    if (e.audio_offset_ms > 0) json["audio_offset_ms"] = e.audio_offset_ms;
    return json;
  }
  Json operator()(const SegmentCompleted& e) const {
    Json json = {{"event", "segment"},
                 {"segment", e.segment},
                 {"text", e.text},
                 {"finish_reason", FinishReasonName(e.reason)}};
    if (e.stats.has_value()) json["stats"] = Stats(*e.stats);
    if (e.untranslated_source_tokens > 0) {
      json["untranslated_source_tokens"] = e.untranslated_source_tokens;
    }
    if (e.source_dropped) json["source_dropped"] = true;
    if (e.continues) json["continues"] = true;
    if (e.audio_end_ms > 0) {
      json["audio_start_ms"] = e.audio_start_ms;
      json["audio_end_ms"] = e.audio_end_ms;
    }
    return json;
  }
  Json operator()(const GoingAway& e) const {
    return {{"event", "going_away"},
            {"remaining_duration", Seconds(e.remaining)},
            {"reason", e.reason}};
  }
  Json operator()(const Interrupted& e) const {
    return {{"event", "interrupted"},
            {"code", absl::StatusCodeToString(e.why.code())},
            {"message", std::string(e.why.message())}};
  }
  Json operator()(const Resumed& e) const {
    return {{"event", "resumed"}, {"server", e.address}, {"gap", Seconds(e.gap)}};
  }
  Json operator()(const Summary& e) const {
    Json json = {{"event", "summary"},
                 {"segments", e.segments},
                 {"source_tokens", e.source_tokens},
                 {"target_tokens", e.target_tokens},
                 {"totals", Totals(e.totals)}};
    if (e.untranslated_source_tokens > 0) {
      json["untranslated_source_tokens"] = e.untranslated_source_tokens;
    }
    if (e.dropped_source_bytes > 0) json["dropped_source_bytes"] = e.dropped_source_bytes;
    if (e.usage.has_value()) {
      json["usage"] = {{"source_characters", e.usage->source_characters},
                       {"source_audio_ms", e.usage->source_audio_ms},
                       {"target_tokens", e.usage->target_tokens}};
    }
    return json;
  }
};

}  // namespace

std::string ToJson(const Event& event) { return Dump(std::visit(ToJsonVisitor(), event)); }

std::string ToJson(const std::vector<Model>& models) {
  Json list = Json::array();
  for (const Model& model : models) {
    list.push_back({{"name", model.name},
                    {"source_language_codes", model.source_language_codes},
                    {"target_language_codes", model.target_language_codes},
                    {"license", model.license},
                    {"origin", model.origin},
                    {"checksum", model.checksum},
                    {"source", model.speech ? "speech" : "text"},
                    {"policies", model.policies},
                    {"learned_policy", model.learned_policy},
                    {"generates", model.generates},
                    {"default_k", model.default_k},
                    {"min_k", model.min_k},
                    {"max_k", model.max_k},
                    {"state_bytes_per_session", model.state_bytes_per_session},
                    {"state_bytes_per_token", model.state_bytes_per_token},
                    {"compute_type", model.compute_type},
                    {"state_type", model.state_type}});
  }
  return Dump(Json{{"models", list}});
}

}  // namespace leapstream::client
