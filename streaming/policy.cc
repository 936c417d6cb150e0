#include "streaming/policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leapstream {

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
