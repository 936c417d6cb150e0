#include "server/wire/policy_config.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "server/status_mapping.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

// Numbers of a message that are 0 stand for the defaults of the struct.
template <typename Number>
void SetUnlessZero(Number asked, Number* value) {
  if (asked != 0) *value = asked;
}

WaitK RuleOf(const v1::WaitK& asked) {
  WaitK policy;
  policy.k = asked.k();  // No k is none that a model has: there is no default.
  SetUnlessZero(asked.write_stride(), &policy.write_stride);
  policy.count_words = asked.count_words();
  return policy;
}

LocalAgreement RuleOf(const v1::LocalAgreement& asked) {
  LocalAgreement policy;
  SetUnlessZero(asked.n(), &policy.n);
  SetUnlessZero(asked.max_lag(), &policy.max_lag);
  return policy;
}

HoldN RuleOf(const v1::HoldN& asked) {
  HoldN policy;
  SetUnlessZero(asked.n(), &policy.n);
  SetUnlessZero(asked.max_lag(), &policy.max_lag);
  return policy;
}

AlignAtt RuleOf(const v1::AlignAtt& asked, const ModelInfo& model) {
  AlignAtt policy;
  SetUnlessZero(model.alignment_frames, &policy.frames);
  SetUnlessZero(asked.frames(), &policy.frames);
  SetUnlessZero(asked.max_lag(), &policy.max_lag);
  return policy;
}

AdaptiveWaitK RuleOf(const v1::AdaptiveWaitK& asked, const ModelInfo& model) {
  AdaptiveWaitK policy;
  policy.min_k = std::max(policy.min_k, model.min_k);
  policy.max_k = std::max(std::min(policy.max_k, model.max_k), policy.min_k);
  if (!model.adaptive_thresholds.empty()) {
    policy.min_k_threshold = model.adaptive_thresholds.front();
    policy.max_k_threshold = model.adaptive_thresholds.back();
  }
  SetUnlessZero(asked.min_k(), &policy.min_k);
  SetUnlessZero(asked.max_k(), &policy.max_k);
  SetUnlessZero(asked.min_k_threshold(), &policy.min_k_threshold);
  SetUnlessZero(asked.max_k_threshold(), &policy.max_k_threshold);
  return policy;
}

Policy PolicyOf(const v1::DecodingPolicy& policy, const ModelInfo& model) {
  switch (policy.policy_case()) {
    case v1::DecodingPolicy::kWaitK:
      return RuleOf(policy.wait_k());
    case v1::DecodingPolicy::kOffline:
      return Offline();
    case v1::DecodingPolicy::kLearned:
      return Learned();
    case v1::DecodingPolicy::kLocalAgreement:
      return RuleOf(policy.local_agreement());
    case v1::DecodingPolicy::kHoldN:
      return RuleOf(policy.hold_n());
    case v1::DecodingPolicy::kAlignAtt:
      return RuleOf(policy.align_att(), model);
    case v1::DecodingPolicy::kAdaptiveWaitK:
      return RuleOf(policy.adaptive_wait_k(), model);
    case v1::DecodingPolicy::POLICY_NOT_SET:
      break;
  }
  return DefaultPolicy(model);
}

absl::StatusOr<Past> ToPast(v1::Past past) {
  switch (past) {
    case v1::PAST_UNSPECIFIED:
      return Past::kDefault;
    case v1::PAST_FROZEN:
      return Past::kFrozen;
    case v1::PAST_REFRESHED:
      return Past::kRefreshed;
    default:
      return InvalidRequest("UNKNOWN_ENUM_VALUE",
                            absl::StrCat("no past has the number ", static_cast<int>(past)));
  }
}

// Offline decides once, so that nothing can happen between two decisions.
absl::Status CheckOffline(const v1::DecodingPolicy& policy) {
  const char* given = policy.read_tokens() != 0            ? "read_tokens"
                      : policy.read_words() != 0           ? "read_words"
                      : policy.read_ms() != 0              ? "read_ms"
                      : policy.past() != v1::PAST_UNSPECIFIED ? "past"
                      : policy.has_prefix_end()            ? "prefix_end"
                                                           : nullptr;
  if (given == nullptr) return absl::OkStatus();
  return InvalidRequest("INVALID_POLICY",
                        absl::StrCat("policy offline reads a segment to its end before it writes, "
                                     "so it takes no ",
                                     given, "; leave it unset, or ask for another policy"));
}

// Show() writes a policy to the config; there is one per kind of policy.
void Show(const WaitK& wait_k, v1::DecodingPolicy* policy) {
  policy->mutable_wait_k()->set_k(wait_k.k);
  policy->mutable_wait_k()->set_write_stride(wait_k.write_stride);
  policy->mutable_wait_k()->set_count_words(wait_k.count_words);
}
void Show(const Offline&, v1::DecodingPolicy* policy) { policy->mutable_offline(); }
void Show(const Learned&, v1::DecodingPolicy* policy) { policy->mutable_learned(); }
void Show(const LocalAgreement& agreement, v1::DecodingPolicy* policy) {
  policy->mutable_local_agreement()->set_n(agreement.n);
  policy->mutable_local_agreement()->set_max_lag(agreement.max_lag);
}
void Show(const HoldN& hold, v1::DecodingPolicy* policy) {
  policy->mutable_hold_n()->set_n(hold.n);
  policy->mutable_hold_n()->set_max_lag(hold.max_lag);
}
void Show(const AlignAtt& align_att, v1::DecodingPolicy* policy) {
  policy->mutable_align_att()->set_frames(align_att.frames);
  policy->mutable_align_att()->set_max_lag(align_att.max_lag);
}
void Show(const AdaptiveWaitK& adaptive, v1::DecodingPolicy* policy) {
  v1::AdaptiveWaitK& shown = *policy->mutable_adaptive_wait_k();
  shown.set_min_k(adaptive.min_k);
  shown.set_max_k(adaptive.max_k);
  shown.set_min_k_threshold(adaptive.min_k_threshold);
  shown.set_max_k_threshold(adaptive.max_k_threshold);
}

v1::Past PastToProto(Past past) {
  switch (past) {
    case Past::kFrozen:
      return v1::PAST_FROZEN;
    case Past::kRefreshed:
      return v1::PAST_REFRESHED;
    case Past::kDefault:
      break;
  }
  return v1::PAST_UNSPECIFIED;
}

// A policy of this field that the model takes, if it takes one.
Policy Example(int field, const ModelInfo& model) {
  if (field == v1::DecodingPolicy::kWaitK) return WaitK{model.min_k};
  v1::DecodingPolicy policy;
  policy.GetReflection()->MutableMessage(
      &policy, v1::DecodingPolicy::descriptor()->FindFieldByNumber(field));
  return PolicyOf(policy, model);
}

}  // namespace

absl::Status ReadPolicy(const v1::DecodingPolicy& policy, const ModelInfo& model,
                        SessionOptions* options) {
  options->policy = PolicyOf(policy, model);
  options->read_tokens = policy.read_tokens();
  options->read_words = policy.read_words();
  options->read_ms = policy.read_ms();
  LEAPSTREAM_ASSIGN_OR_RETURN(options->past, ToPast(policy.past()));
  if (policy.has_prefix_end()) options->prefix_end = policy.prefix_end();
  const bool offline = std::holds_alternative<Offline>(options->policy);
  return offline ? CheckOffline(policy) : absl::OkStatus();
}

void ShowPolicy(const SessionOptions& options, const ModelInfo& model,
                v1::DecodingPolicy* policy) {
  std::visit([policy](const auto& own) { Show(own, policy); }, options.policy);
  policy->set_read_tokens(options.read_tokens);
  policy->set_read_words(options.read_words);
  policy->set_read_ms(options.read_ms);
  policy->set_past(PastToProto(options.past));
  if (UsesDrafts(options.policy) && model.bidirectional_encoder) {
    policy->set_past(RefreshesPast(options, model) ? v1::PAST_REFRESHED : v1::PAST_FROZEN);
  }
  if (options.prefix_end.has_value()) policy->set_prefix_end(*options.prefix_end);
}

std::vector<std::string> PolicyNames(const ModelInfo& model) {
  std::vector<std::string> names;
  const auto* const kinds = v1::DecodingPolicy::descriptor()->FindOneofByName("policy");
  for (int i = 0; i < kinds->field_count(); ++i) {
    if (!CheckFor(Example(kinds->field(i)->number(), model), model).ok()) continue;
    names.push_back(kinds->field(i)->name());
  }
  return names;
}

}  // namespace leapstream
