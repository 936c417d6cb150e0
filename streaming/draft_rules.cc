#include "streaming/draft_rules.h"

#include <algorithm>
#include <cstddef>
#include <variant>

namespace leapstream {
namespace {

constexpr int kRepeatsFrom = 8;  // Target tokens; NeMo's Canary has the same.

// Whether the last `period` * `times` tokens are the last `period` ones, again and again.
bool Repeats(absl::Span<const TokenId> target, size_t period, size_t times) {
  if (target.size() < period * times) return false;
  const size_t begin = target.size() - period * times;
  for (size_t i = begin + period; i < target.size(); ++i) {
    if (target[i] != target[i - period]) return false;
  }
  return true;
}

}  // namespace

int MostDraftTokens(const DraftLength& length) {
  const int of_segment = (3 * length.source_read + 1) / 2 + 10 - length.written;
  const int of_look = 8 + 2 * length.new_source;
  return std::max(std::min(of_segment, of_look), 0);
}

int MostNewTokens(const Policy& policy, int chunk, bool agrees) {
  constexpr int kAnyNumber = 1 << 30;
  if (!std::holds_alternative<LocalAgreement>(policy)) return kAnyNumber;
  return agrees ? std::max(chunk, 2) : 1;
}

int RepeatedTokens(absl::Span<const TokenId> target) {
  if (target.size() < kRepeatsFrom) return 0;
  if (Repeats(target, 1, 5)) return 4;
  if (Repeats(target, 2, 3)) return 4;
  return Repeats(target, 3, 3) ? 6 : 0;
}

int Keeps(const Policy& policy, absl::Span<const int> agreed) {
  const auto drafted = static_cast<int>(agreed.size());
  if (const auto* hold = std::get_if<HoldN>(&policy)) return std::max(drafted - hold->n, 0);
  const auto* agreement = std::get_if<LocalAgreement>(&policy);
  if (agreement == nullptr) return drafted;
  int count = 0;
  while (count < drafted && agreed[count] >= agreement->n) ++count;
  return count;
}

bool IsUnsafe(const Policy& policy, const Decision& decision, int source_read) {
  const auto* align_att = std::get_if<AlignAtt>(&policy);
  if (align_att == nullptr) return false;
  // The newest source token is no place to attend to, and so is none of these.
  return decision.attended == kNoSource ||
         decision.attended >= source_read - 1 - align_att->frames;
}

bool LagsTooMuch(const Policy& policy, int words) {
  const auto lags = [&](const auto& own) { return own.max_lag >= 0 && words >= own.max_lag; };
  if (const auto* agreement = std::get_if<LocalAgreement>(&policy)) return lags(*agreement);
  if (const auto* hold = std::get_if<HoldN>(&policy)) return lags(*hold);
  const auto* align_att = std::get_if<AlignAtt>(&policy);
  return align_att != nullptr && lags(*align_att);
}

}  // namespace leapstream
