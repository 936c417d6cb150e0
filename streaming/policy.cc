#include "streaming/policy.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr int kMostDrafts = 16;        // Of LocalAgreement.
constexpr int kMostHeldTokens = 1000;  // Of HoldN and AlignAtt.
constexpr int kMostLag = 1'000'000;    // In words.

// A policy of drafts looks once after each chunk of source.
Action Look(const Progress& progress) {
  const bool looks = progress.source_finished || progress.source_read > progress.looked;
  return looks ? Action::kWrite : Action::kRead;
}

absl::Status CheckRange(absl::string_view what, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " must be in [", low, ", ", high,
                                                 "], got ", value,
                                                 "; leave it unset for the default"));
}

absl::Status CheckHasNoPolicy(absl::string_view policy, const ModelInfo& model) {
  if (!model.learned_policy) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "model ", model.name, " decides itself when to read, so it takes no ", policy,
      "; leave the policy unset, or ask for offline"));
}

}  // namespace

Action WaitK::Decide(const Progress& progress) const {
  if (progress.source_finished) return Action::kWrite;
  if (count_words) {
    // The open word may go on, unless the model has shown already that a new one begins.
    const int open = progress.awaits_word ? 0 : 1;
    const int written = std::max(progress.target_words - open, 0);
    const long long due = static_cast<long long>(k) + progress.lag + written / write_stride;
    return progress.source_words < due ? Action::kRead : Action::kWrite;
  }
  // The sum takes 64 bits, since each term may be as large as an int.
  const long long due =
      static_cast<long long>(k) + progress.lag + progress.target_written / write_stride;
  if (progress.source_is_short) {
    return progress.source_read == due ? Action::kWrite : Action::kRead;
  }
  return progress.source_read < due ? Action::kRead : Action::kWrite;
}

bool WaitK::Admits(const Progress& progress, const Decision& /*decision*/,
                   bool begins_word) const {
  if (!count_words || !begins_word) return true;
  Progress begun = progress;
  begun.awaits_word = true;
  return Decide(begun) == Action::kWrite;
}

absl::Status WaitK::CheckFor(const ModelInfo& model) const {
  if (model.learned_policy) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.name, " decides itself when to read, so it takes no wait-k (k ", k,
        "); leave the policy unset, or ask for offline"));
  }
  if (k < model.min_k || k > model.max_k) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy wait-k of model ", model.name, " needs k in [", model.min_k, ", ",
                     model.max_k, "], got ", k, "; leave the policy unset for the default"));
  }
  if (write_stride < 1) {
    return absl::InvalidArgumentError(absl::StrCat("write_stride must be at least 1, got ",
                                                   write_stride, "; leave it unset for 1"));
  }
  return absl::OkStatus();
}

Action Offline::Decide(const Progress& progress) const {
  return progress.source_finished ? Action::kWrite : Action::kRead;
}

absl::Status Offline::CheckFor(const ModelInfo&) const { return absl::OkStatus(); }

Action Learned::Decide(const Progress& progress) const {
  if (progress.source_finished) return Action::kWrite;
  return progress.source_read < std::max(progress.wanted, 1) ? Action::kRead : Action::kWrite;
}

absl::Status Learned::CheckFor(const ModelInfo& model) const {
  if (model.learned_policy) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model ", model.name,
                   " has learned no policy; ask for wait_k or offline, or leave it unset"));
}

Action LocalAgreement::Decide(const Progress& progress) const { return Look(progress); }

absl::Status LocalAgreement::CheckFor(const ModelInfo& model) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHasNoPolicy("local agreement", model));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("n of local agreement", n, 2, kMostDrafts));
  return CheckRange("max_lag", max_lag, -1, kMostLag);
}

Action HoldN::Decide(const Progress& progress) const { return Look(progress); }

absl::Status HoldN::CheckFor(const ModelInfo& model) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHasNoPolicy("hold-n", model));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("n of hold-n", n, 0, kMostHeldTokens));
  return CheckRange("max_lag", max_lag, -1, kMostLag);
}

Action AlignAtt::Decide(const Progress& progress) const { return Look(progress); }

absl::Status AlignAtt::CheckFor(const ModelInfo& model) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHasNoPolicy("AlignAtt", model));
  if (!model.shows_attention) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy AlignAtt needs cross-attention with soft-max, which model ", model.name,
        " does not show; ask for local_agreement, or leave the policy unset for the default"));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("frames of AlignAtt", frames, 0, kMostHeldTokens));
  return CheckRange("max_lag", max_lag, -1, kMostLag);
}

Action AdaptiveWaitK::Decide(const Progress& progress) const {
  if (progress.source_finished) return Action::kWrite;
  // A step that was not admitted is decided again with more source.
  const bool wanted = progress.source_read < progress.wanted;
  const bool early =
      progress.source_read < static_cast<long long>(min_k) + progress.target_written;
  return wanted || early ? Action::kRead : Action::kWrite;
}

bool AdaptiveWaitK::Admits(const Progress& progress, const Decision& decision) const {
  const int lag = progress.source_read - progress.target_written;
  if (progress.source_finished || lag > max_k) return true;
  const double share =
      max_k > min_k ? static_cast<double>(std::max(lag - min_k, 0)) / (max_k - min_k) : 0;
  const double threshold = min_k_threshold + share * (max_k_threshold - min_k_threshold);
  return std::exp(static_cast<double>(decision.best.log_prob)) >= threshold;
}

absl::Status AdaptiveWaitK::CheckFor(const ModelInfo& model) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHasNoPolicy("adaptive wait-k", model));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("min_k", min_k, model.min_k, model.max_k));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("max_k", max_k, min_k, model.max_k));
  for (const double threshold : {min_k_threshold, max_k_threshold}) {
    if (threshold >= 0 && threshold <= 1) continue;
    return absl::InvalidArgumentError(absl::StrCat("a threshold must be a probability, got ",
                                                   threshold,
                                                   "; leave it unset for the default"));
  }
  return absl::OkStatus();
}

Action Decide(const Policy& policy, const Progress& progress) {
  if (progress.within_chunk && !progress.source_finished) return Action::kRead;
  return std::visit([&](const auto& own) { return own.Decide(progress); }, policy);
}

bool Admits(const Policy& policy, const Progress& progress, const Decision& decision,
            bool begins_word) {
  if (const auto* wait_k = std::get_if<WaitK>(&policy)) {
    return wait_k->Admits(progress, decision, begins_word);
  }
  const auto* adaptive = std::get_if<AdaptiveWaitK>(&policy);
  return adaptive == nullptr || adaptive->Admits(progress, decision);
}

bool UsesDrafts(const Policy& policy) {
  return std::holds_alternative<LocalAgreement>(policy) ||
         std::holds_alternative<HoldN>(policy) || std::holds_alternative<AlignAtt>(policy);
}

bool CountsTokensOnly(const Policy& policy) {
  if (const auto* wait_k = std::get_if<WaitK>(&policy)) return !wait_k->count_words;
  return std::holds_alternative<Offline>(policy);
}

absl::Status CheckFor(const Policy& policy, const ModelInfo& model) {
  if (!model.translates) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.name, " goes on with texts and translates none; call "
        "LanguageModelService/Generate (leapstream generate), or name a model that translates"));
  }
  if (model.generates && !std::holds_alternative<Offline>(policy)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", model.name, " is a decoder alone, whose source comes whole before its "
                     "target; ask for the policy offline, or leave it unset"));
  }
  return std::visit([&](const auto& own) { return own.CheckFor(model); }, policy);
}

Policy DefaultPolicy(const ModelInfo& model) {
  if (model.learned_policy) return Learned();
  if (model.default_k == 0) return Offline();
  return WaitK{model.default_k};
}

std::string ToString(const Policy& policy) {
  return std::visit([](const auto& own) { return own.Name(); }, policy);
}

}  // namespace leapstream
