#include "server/effective_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"

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
    default:
      return InvalidRequest("UNKNOWN_ENUM_VALUE", absl::StrCat("no early_end has the number ",
                                                               static_cast<int>(early_end)));
  }
}

v1::EarlyEnd ToProto(EarlyEnd early_end) {
  switch (early_end) {
    case EarlyEnd::kStop:
      return v1::EARLY_END_STOP;
    case EarlyEnd::kSuppress:
      return v1::EARLY_END_SUPPRESS;
    case EarlyEnd::kReadOn:
      return v1::EARLY_END_READ_ON;
  }
  return v1::EARLY_END_UNSPECIFIED;
}

// One per policy.
void Show(const WaitK& wait_k, v1::DecodingPolicy* policy) {
  policy->mutable_wait_k()->set_k(wait_k.k);
  policy->mutable_wait_k()->set_write_stride(wait_k.write_stride);
}
void Show(const Offline&, v1::DecodingPolicy* policy) { policy->mutable_offline(); }
void Show(const Learned&, v1::DecodingPolicy* policy) { policy->mutable_learned(); }

}  // namespace

absl::StatusOr<SessionOptions> ToSessionOptions(const v1::SessionConfig& config,
                                                const SessionLimits& limits,
                                                const ModelInfo& model) {
  if (!v1::InputFormat_IsValid(config.input_format())) {
    return InvalidRequest(
        "UNKNOWN_ENUM_VALUE",
        absl::StrCat("no input_format has the number ", static_cast<int>(config.input_format())));
  }
  const v1::DecodingPolicy& policy = config.policy();
  SessionOptions options;
  switch (policy.policy_case()) {
    case v1::DecodingPolicy::kWaitK: {
      const int stride = policy.wait_k().write_stride();
      options.policy = WaitK{policy.wait_k().k(), stride == 0 ? 1 : stride};
      break;
    }
    case v1::DecodingPolicy::kOffline:
      options.policy = Offline();
      break;
    case v1::DecodingPolicy::kLearned:
      options.policy = Learned();
      break;
    case v1::DecodingPolicy::POLICY_NOT_SET:
      options.policy = DefaultPolicy(model);
  }
  options.max_source_tokens = limits.max_source_tokens;
  options.max_target_tokens_cap = limits.max_target_tokens;
  options.max_queued_bytes = limits.max_queued_bytes;
  options.max_target_tokens = std::min(policy.max_target_tokens(), limits.max_target_tokens);
  if (policy.max_length_a() != 0 || policy.max_length_b() != 0) {  // fairseq's pair goes together.
    options.max_length_a = policy.max_length_a();
    options.max_length_b = policy.max_length_b();
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(options.early_end, ToEarlyEnd(policy.early_end()));
  return options;
}

v1::SessionConfig EffectiveConfig(const v1::SessionConfig& requested, const SessionOptions& options,
                                  const ModelInfo& model) {
  v1::SessionConfig config;
  config.set_model(model.name);
  config.set_source_language_code(model.source_language);
  config.set_target_language_code(model.target_language);
  v1::DecodingPolicy& policy = *config.mutable_policy();
  std::visit([&policy](const auto& own) { Show(own, &policy); }, options.policy);
  policy.set_max_target_tokens(options.max_target_tokens);
  policy.set_max_length_a(options.max_length_a);
  policy.set_max_length_b(options.max_length_b);
  policy.set_early_end(ToProto(options.early_end));
  config.set_input_format(requested.input_format() == v1::INPUT_FORMAT_UNSPECIFIED
                              ? v1::INPUT_FORMAT_TEXT
                              : requested.input_format());
  *config.mutable_output() = requested.output();
  return config;
}

std::string ConfigDigest(const v1::SessionConfig& effective, const SessionOptions& options) {
  v1::SessionConfig config = effective;
  config.clear_output();
  config.clear_idle_timeout();
  return Sha256(absl::StrCat(config.SerializeAsString(), "/", options.max_source_tokens, "/",
                             options.max_target_tokens_cap));
}

absl::Duration IdleTimeout(const v1::SessionConfig& config, const SessionLimits& limits) {
  const absl::Duration asked = absl::Seconds(config.idle_timeout().seconds()) +
                               absl::Nanoseconds(config.idle_timeout().nanos());
  if (asked <= absl::ZeroDuration()) return limits.idle_timeout;
  return limits.idle_timeout > absl::ZeroDuration() ? std::min(asked, limits.idle_timeout) : asked;
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &duration);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return proto;
}

v1::SegmentStats ToProto(const SegmentStats& stats) {
  v1::SegmentStats proto;
  proto.set_source_tokens(stats.source_tokens);
  proto.set_target_tokens(stats.target_tokens);
  const metrics::Lagging& lagging = stats.lagging;
  proto.set_average_lagging(lagging.al);
  proto.set_length_adaptive_average_lagging(lagging.laal);
  proto.set_average_proportion(lagging.ap);
  proto.set_differentiable_average_lagging(lagging.dal);
  proto.set_average_token_delay(lagging.atd);
  proto.set_start_offset(lagging.start_offset);
  proto.set_end_offset(lagging.end_offset);
  if (lagging.yaal.has_value()) proto.set_yet_another_average_lagging(*lagging.yaal);
  *proto.mutable_first_token_duration() = ToProto(stats.first_token);
  *proto.mutable_compute_duration() = ToProto(stats.compute);
  *proto.mutable_queue_duration() = ToProto(stats.queue);
  return proto;
}

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSentence:
      return v1::FINISH_REASON_END_OF_SENTENCE;
    case FinishReason::kMaxLength:
      return v1::FINISH_REASON_MAX_LENGTH;
    case FinishReason::kSourceLimit:
      return v1::FINISH_REASON_SOURCE_LIMIT;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace leapstream
