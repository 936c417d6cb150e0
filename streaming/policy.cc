#include "streaming/policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace leapstream {
namespace {

absl::Status CheckRange(absl::string_view what, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " must be in [", low, ", ", high,
                                                 "], got ", value,
                                                 "; leave it unset for the default"));
}

}  // namespace

Action WaitK::Decide(const Progress& progress) const {
  if (progress.source_finished) return Action::kWrite;
  // The sum takes 64 bits, since each term may be as large as an int.
  const long long due =
      static_cast<long long>(k) + progress.lag + progress.target_written / write_stride;
  if (progress.source_is_short) {
    return progress.source_read == due ? Action::kWrite : Action::kRead;
  }
  return progress.source_read < due ? Action::kRead : Action::kWrite;
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

// The policies below are a placeholder: the streaming layer reads a segment to its end before it
// writes.
Action LocalAgreement::Decide(const Progress& p) const { return Offline().Decide(p); }
Action HoldN::Decide(const Progress& p) const { return Offline().Decide(p); }
Action AlignAtt::Decide(const Progress& p) const { return Offline().Decide(p); }
Action AdaptiveWaitK::Decide(const Progress& p) const { return Offline().Decide(p); }

absl::Status LocalAgreement::CheckFor(const ModelInfo&) const {
  return CheckRange("n of local agreement", n, 2, 16);
}
absl::Status HoldN::CheckFor(const ModelInfo&) const {
  return CheckRange("n of hold-n", n, 0, 1000);
}
absl::Status AlignAtt::CheckFor(const ModelInfo&) const {
  return CheckRange("frames of AlignAtt", frames, 0, 1000);
}
absl::Status AdaptiveWaitK::CheckFor(const ModelInfo& model) const {
  if (absl::Status status = CheckRange("min_k", min_k, model.min_k, model.max_k); !status.ok()) {
    return status;
  }
  return CheckRange("max_k", max_k, min_k, model.max_k);
}

Action Decide(const Policy& policy, const Progress& progress) {
  return std::visit([&](const auto& own) { return own.Decide(progress); }, policy);
}

absl::Status CheckFor(const Policy& policy, const ModelInfo& model) {
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
