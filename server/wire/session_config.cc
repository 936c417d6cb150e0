#include "server/wire/session_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"
#include "server/wire/policy_config.h"
#include "server/wire/to_proto.h"
#include "streaming/audio_source.h"
#include "streaming/glossary.h"

namespace leapstream {
namespace {

absl::StatusOr<EarlyEnd> ToEarlyEnd(v1::EarlyEnd early_end) {
  switch (early_end) {
    case v1::EARLY_END_UNSPECIFIED:
      return SessionOptions().early_end;
    case v1::EARLY_END_STOP:
      return EarlyEnd::kStop;
    case v1::EARLY_END_SUPPRESS:
      return EarlyEnd::kSuppress;
    case v1::EARLY_END_READ_ON:
      return EarlyEnd::kReadOn;
    case v1::EARLY_END_FORCE_FINISH:
      return EarlyEnd::kForceFinish;
    default:
      return InvalidRequest("UNKNOWN_ENUM_VALUE", absl::StrCat("no early_end has the number ",
                                                               static_cast<int>(early_end)));
  }
}

// The defaults of fairseq's speech agent, --max-len 200 and --max-len-after-finish-read 25. The
// agent writes one token more than these say.
constexpr int kSpeechTargetTokens = 201;
constexpr int kSpeechTargetTokensAfterSource = 26;

v1::InputFormat InputFormat(const v1::SessionConfig& config, const ModelInfo& model) {
  if (config.input_format() != v1::INPUT_FORMAT_UNSPECIFIED) return config.input_format();
  return model.speech.has_value() ? v1::INPUT_FORMAT_PCM_S16LE : v1::INPUT_FORMAT_TEXT;
}

absl::Status CheckInputFormat(const v1::SessionConfig& config, const ModelInfo& model) {
  const v1::InputFormat format = InputFormat(config, model);
  const bool audio = format == v1::INPUT_FORMAT_PCM_S16LE || format == v1::INPUT_FORMAT_PCM_F32LE;
  if (audio != model.speech.has_value()) {
    return InvalidRequest(
        "SOURCE_KIND_MISMATCH",
        absl::StrCat("model ", model.name, " takes ", model.speech.has_value() ? "audio" : "text",
                     ", got input_format ", v1::InputFormat_Name(format),
                     "; leave it unset for the model's own, or ask for another model"));
  }
  const int rate = config.sample_rate_hertz();
  if (rate == 0) return absl::OkStatus();
  if (!audio) {
    return InvalidRequest("SAMPLE_RATE_INVALID",
                          absl::StrCat("a session of text has no sample_rate_hertz, got ", rate));
  }
  if (rate < kMinSampleRate || rate > kMaxSampleRate) {
    return InvalidRequest(
        "SAMPLE_RATE_INVALID",
        absl::StrCat("sample_rate_hertz needs to be in [", kMinSampleRate, ", ", kMaxSampleRate,
                     "], got ", rate, "; leave it unset for ", kSpeechSampleRate));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SessionOptions> ToSessionOptions(const v1::SessionConfig& config,
                                                const SessionLimits& limits,
                                                const ModelInfo& model) {
  if (!v1::InputFormat_IsValid(config.input_format())) {
    return InvalidRequest(
        "UNKNOWN_ENUM_VALUE",
        absl::StrCat("no input_format has the number ", static_cast<int>(config.input_format())));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckInputFormat(config, model));
  const v1::DecodingPolicy& policy = config.policy();
  SessionOptions options;
  options.languages = {model.source_language, model.target_language};
  LEAPSTREAM_RETURN_IF_ERROR(ReadPolicy(policy, model, &options));
  options.max_source_tokens = limits.max_source_tokens;
  options.max_target_tokens_cap = limits.max_target_tokens;
  options.max_queued_bytes = limits.max_queued_bytes;
  options.max_target_tokens = std::min(policy.max_target_tokens(), limits.max_target_tokens);
  if (policy.max_length_a() != 0 || policy.max_length_b() != 0) {  // fairseq sets both at once.
    options.max_length_a = policy.max_length_a();
    options.max_length_b = policy.max_length_b();
  }
  if (model.speech.has_value()) {
    if (config.sample_rate_hertz() != 0) options.sample_rate = config.sample_rate_hertz();
    options.max_target_tokens_after_source = policy.max_target_tokens_after_source();
    // A model that was trained offline may write all of its target then.
    if (options.max_target_tokens_after_source == 0 && model.default_k > 0) {
      options.max_target_tokens_after_source = kSpeechTargetTokensAfterSource;
    }
    if (options.max_target_tokens == 0 && policy.max_length_a() == 0 &&
        policy.max_length_b() == 0) {
      options.max_target_tokens = std::min(kSpeechTargetTokens, limits.max_target_tokens);
    }
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(options.early_end, ToEarlyEnd(policy.early_end()));
  if (policy.has_beam_search()) {
    options.beam = ToBeamOptions(policy.beam_search());
    if (options.beam->n_best > 1) {
      return InvalidRequest("INVALID_POLICY",
                            absl::StrCat("a stream has one translation, got n_best ",
                                         options.beam->n_best,
                                         "; leave it unset, or call Translate"));
    }
  }
  options.next_segments = policy.continue_in_next_segment();
  if (options.next_segments && model.speech.has_value()) {
    return InvalidRequest(
        "INVALID_POLICY",
        absl::StrCat("continue_in_next_segment is for text, and model ", model.name,
                     " takes audio; leave it unset and let pause_detection end segments"));
  }
  return options;
}

v1::SessionConfig EffectiveConfig(const v1::SessionConfig& requested, const SessionOptions& options,
                                  const ModelInfo& model) {
  v1::SessionConfig config;
  config.set_model(model.name);
  config.set_source_language_code(options.languages.source);
  config.set_target_language_code(options.languages.target);
  v1::DecodingPolicy& policy = *config.mutable_policy();
  ShowPolicy(options, model, &policy);
  policy.set_max_target_tokens(options.max_target_tokens);
  policy.set_max_length_a(options.max_length_a);
  policy.set_max_length_b(options.max_length_b);
  policy.set_early_end(ToProto(options.early_end));
  policy.set_continue_in_next_segment(options.next_segments);
  if (options.beam.has_value()) *policy.mutable_beam_search() = ToProto(*options.beam);
  config.set_input_format(InputFormat(requested, model));
  if (model.speech.has_value()) {
    config.set_sample_rate_hertz(options.sample_rate);
    policy.set_max_target_tokens_after_source(options.max_target_tokens_after_source);
  }
  *config.mutable_output() = requested.output();
  return config;
}

BeamOptions ToBeamOptions(const v1::BeamSearch& search) {
  BeamOptions options;
  if (search.beam() != 0) options.beam = search.beam();
  if (search.has_length_penalty()) options.length_penalty = search.length_penalty();
  if (search.max_length_a() != 0 || search.max_length_b() != 0) {  // fairseq sets both at once.
    options.max_length_a = search.max_length_a();
    options.max_length_b = search.max_length_b();
  }
  if (search.has_min_length()) options.min_length = search.min_length();
  options.no_repeat_ngram = search.no_repeat_ngram();
  if (search.n_best() != 0) options.n_best = search.n_best();
  options.unnormalized = search.unnormalized();
  options.unknown_penalty = search.unknown_penalty();
  if (search.temperature() != 0) options.temperature = search.temperature();
  options.match_source_length = search.match_source_length();
  return options;
}

v1::BeamSearch ToProto(const BeamOptions& options) {
  v1::BeamSearch search;
  search.set_beam(options.beam);
  search.set_length_penalty(options.length_penalty);
  search.set_max_length_a(options.max_length_a);
  search.set_max_length_b(options.max_length_b);
  search.set_min_length(options.min_length);
  search.set_no_repeat_ngram(options.no_repeat_ngram);
  search.set_n_best(options.n_best);
  search.set_unnormalized(options.unnormalized);
  search.set_unknown_penalty(options.unknown_penalty);
  search.set_temperature(options.temperature);
  search.set_match_source_length(options.match_source_length);
  return search;
}

absl::StatusOr<PauseRule> ToPauseRule(const v1::SessionConfig& config,
                                      const PauseRule& default_rule, const ModelInfo& model) {
  PauseRule rule = config.has_pause_detection() ? PauseRule() : default_rule;
  if (config.has_pause_detection()) {
    const v1::PauseDetection& asked = config.pause_detection();
    rule.duration = FromProto(asked.min_duration());
    if (asked.threshold_db() != 0) rule.threshold_db = asked.threshold_db();
    if (const absl::Status status = rule.Check(); !status.ok()) {
      return InvalidRequest("PAUSE_INVALID", status.message());
    }
  }
  if (model.speech.has_value()) return rule;
  if (config.has_pause_detection() && rule.on()) {
    return InvalidRequest("PAUSE_INVALID",
                          absl::StrCat("a session of text has no pauses, got a min_duration of ",
                                       absl::FormatDuration(rule.duration), "; leave it unset"));
  }
  return PauseRule();
}

std::string ConfigDigest(const v1::SessionConfig& effective, const SessionOptions& options) {
  v1::SessionConfig config = effective;
  config.clear_output();
  config.clear_idle_timeout();
  // The server's own is not in the config.
  const std::string glossary = options.glossary != nullptr && !config.has_glossary()
                                   ? absl::StrCat("/", GlossaryText(options.glossary->terms()))
                                   : "";
  return Sha256(absl::StrCat(config.SerializeAsString(), "/", options.max_source_tokens, "/",
                             options.max_target_tokens_cap, glossary));
}

absl::Duration IdleTimeout(const v1::SessionConfig& config, const SessionLimits& limits) {
  const absl::Duration asked = FromProto(config.idle_timeout());
  if (asked <= absl::ZeroDuration()) return limits.idle_timeout;
  return limits.idle_timeout > absl::ZeroDuration() ? std::min(asked, limits.idle_timeout) : asked;
}

}  // namespace leapstream
