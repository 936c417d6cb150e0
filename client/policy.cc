#include "client/policy.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace leapstream::client {
namespace {

constexpr int kMostNumber = 1 << 20;
constexpr char kTexts[] =
    "wait-k:K, la:N, hold:N, alignatt:FRAMES, adaptive:MIN-MAX, offline, learned or default";

struct NamedRule {
  const char* text;  // The name in a policy's text.
  const char* wire;  // The name of its field in DecodingPolicy.
  const char* form;
};

// The names in the order of PolicyRule.
constexpr std::array<NamedRule, std::variant_size_v<PolicyRule>> kRules = {{
    {"default", "", "default"},
    {"wait-k", "wait_k", "wait-k:K or wait-k:K:STRIDE"},
    {"offline", "offline", "offline"},
    {"learned", "learned", "learned"},
    {"la", "local_agreement", "la, la:N or la:N:LAG"},
    {"hold", "hold_n", "hold, hold:N or hold:N:LAG"},
    {"alignatt", "align_att", "alignatt, alignatt:FRAMES or alignatt:FRAMES:LAG"},
    {"adaptive", "adaptive_wait_k", "adaptive, or adaptive:MIN-MAX with up to two thresholds"},
}};

using Parts = std::vector<absl::string_view>;

// Parses a whole number from 1 on; 0: it is none.
int Positive(absl::string_view text) {
  int number = 0;
  return absl::SimpleAtoi(text, &number) && number >= 1 && number <= kMostNumber ? number : 0;
}

// Parses the number of `parts` at `index` if there is one.
bool TakeNumber(const Parts& parts, size_t index, int* number) {
  return parts.size() <= index || (*number = Positive(parts[index])) > 0;
}
bool TakeLag(const Parts& parts, size_t index, int* lag) {
  if (parts.size() > index && parts[index] == "-1") {
    *lag = -1;
    return true;
  }
  return TakeNumber(parts, index, lag);
}
bool TakeThreshold(const Parts& parts, size_t index, double* threshold) {
  return parts.size() <= index ||
         (absl::SimpleAtod(parts[index], threshold) && *threshold > 0 && *threshold <= 1);
}

// Take() reads the numbers of a rule from parts[1] on. False: they are not as its form says.
bool Take(const Parts& parts, std::monostate&) { return parts.size() == 1; }
bool Take(const Parts& parts, WaitK& rule) {
  return parts.size() >= 2 && parts.size() <= 3 && TakeNumber(parts, 1, &rule.k) &&
         TakeNumber(parts, 2, &rule.write_stride);
}
bool Take(const Parts& parts, Offline&) { return parts.size() == 1; }
bool Take(const Parts& parts, Learned&) { return parts.size() == 1; }
bool Take(const Parts& parts, LocalAgreement& rule) {
  return parts.size() <= 3 && TakeNumber(parts, 1, &rule.n) && TakeLag(parts, 2, &rule.max_lag);
}
bool Take(const Parts& parts, HoldN& rule) {
  return parts.size() <= 3 && TakeNumber(parts, 1, &rule.n) && TakeLag(parts, 2, &rule.max_lag);
}
bool Take(const Parts& parts, AlignAtt& rule) {
  return parts.size() <= 3 && TakeNumber(parts, 1, &rule.frames) &&
         TakeLag(parts, 2, &rule.max_lag);
}
bool Take(const Parts& parts, AdaptiveWaitK& rule) {
  if (parts.size() > 4) return false;
  if (parts.size() > 1) {
    const Parts ends = absl::StrSplit(parts[1], '-');
    if (ends.size() != 2 || !TakeNumber(ends, 0, &rule.min_k) ||
        !TakeNumber(ends, 1, &rule.max_k)) {
      return false;
    }
  }
  return TakeThreshold(parts, 2, &rule.min_k_threshold) &&
         TakeThreshold(parts, 3, &rule.max_k_threshold);
}

// Makes `*rule` the alternative of the type with this number, with the numbers of `parts`.
template <size_t index = 0>
bool TakeRule(size_t wanted, const Parts& parts, PolicyRule* rule) {
  if constexpr (index < std::variant_size_v<PolicyRule>) {
    if (index == wanted) return Take(parts, rule->emplace<index>());
    return TakeRule<index + 1>(wanted, parts, rule);
  }
  return false;
}

absl::StatusOr<PolicyRule> ParseRule(absl::string_view text) {
  const Parts parts = absl::StrSplit(text, ':');
  const auto* const found = std::find_if(kRules.begin(), kRules.end(), [&](const auto& each) {
    return each.text == parts[0];
  });
  if (found == kRules.end()) {
    return absl::InvalidArgumentError(absl::StrCat("want ", kTexts, ", got ", text));
  }
  PolicyRule rule;
  if (TakeRule(static_cast<size_t>(found - kRules.begin()), parts, &rule)) return rule;
  return absl::InvalidArgumentError(
      absl::StrCat("want ", found->form, ", with numbers from 1 on, got ", text));
}

absl::Status SetOption(absl::string_view option, Policy* policy) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(option, absl::MaxSplits('=', 1));
  const auto& [name, value] = parts;
  auto* const wait_k = std::get_if<WaitK>(&policy->rule);
  if (option == "count-words" && wait_k != nullptr) {
    wait_k->count_words = true;
  } else if (name == "read-tokens" && Positive(value) > 0) {
    policy->read_tokens = Positive(value);
  } else if (name == "read-words" && Positive(value) > 0) {
    policy->read_words = Positive(value);
  } else if (name == "read-ms" && Positive(value) > 0) {
    policy->read_ms = Positive(value);
  } else if (name == "past" && (value == "frozen" || value == "refreshed")) {
    policy->past = value == "frozen" ? Past::kFrozen : Past::kRefreshed;
  } else if (name == "prefix-end" && (value == "on" || value == "off")) {
    policy->prefix_end = value == "on";
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("want +read-tokens=N, +read-words=N, +read-ms=N, +past=frozen or refreshed, "
                     "+prefix-end=on or off, or with wait-k +count-words, got +",
                     option));
  }
  return absl::OkStatus();
}

std::string Lag(int lag) { return lag == 0 ? "" : absl::StrCat(":", lag); }

// Numbers() is the text of a rule behind its name. A number that is not set ends it.
std::string Numbers(std::monostate) { return ""; }
std::string Numbers(const WaitK& rule) {
  return absl::StrCat(":", rule.k, rule.write_stride > 1 ? Lag(rule.write_stride) : "");
}
std::string Numbers(const Offline&) { return ""; }
std::string Numbers(const Learned&) { return ""; }
std::string Numbers(const LocalAgreement& rule) {
  return rule.n == 0 ? "" : absl::StrCat(":", rule.n, Lag(rule.max_lag));
}
std::string Numbers(const HoldN& rule) {
  return rule.n == 0 ? "" : absl::StrCat(":", rule.n, Lag(rule.max_lag));
}
std::string Numbers(const AlignAtt& rule) {
  return rule.frames == 0 ? "" : absl::StrCat(":", rule.frames, Lag(rule.max_lag));
}
std::string Numbers(const AdaptiveWaitK& rule) {
  if (rule.min_k == 0 || rule.max_k == 0) return "";
  std::string text = absl::StrCat(":", rule.min_k, "-", rule.max_k);
  if (rule.min_k_threshold > 0) absl::StrAppend(&text, ":", rule.min_k_threshold);
  if (rule.min_k_threshold > 0 && rule.max_k_threshold > 0) {
    absl::StrAppend(&text, ":", rule.max_k_threshold);
  }
  return text;
}

}  // namespace

absl::StatusOr<Policy> ParsePolicy(absl::string_view text) {
  const Parts parts = absl::StrSplit(text, '+');
  Policy policy;
  LEAPSTREAM_ASSIGN_OR_RETURN(policy.rule, ParseRule(parts[0]));
  for (size_t i = 1; i < parts.size(); ++i) {
    LEAPSTREAM_RETURN_IF_ERROR(SetOption(parts[i], &policy));
  }
  if (policy.read_tokens > 0 && policy.read_words > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("want +read-tokens or +read-words, got both in ", text));
  }
  return policy;
}

absl::StatusOr<std::vector<Policy>> ParsePolicies(absl::string_view text) {
  // The first number ends where the next one or the options begin.
  const size_t begin = std::min(text.find(':'), text.size());
  const size_t end = std::min(text.find_first_of(":+", begin + 1), text.size());
  std::vector<Policy> policies;
  const absl::string_view rest = text.substr(end);
  if (begin == text.size()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(policies.emplace_back(), ParsePolicy(text));
    return policies;
  }
  for (const absl::string_view number :
       absl::StrSplit(text.substr(begin + 1, end - begin - 1), ',')) {
    LEAPSTREAM_ASSIGN_OR_RETURN(
        policies.emplace_back(),
        ParsePolicy(absl::StrCat(text.substr(0, begin), ":", number, rest)));
  }
  return policies;
}

std::string ToText(const Policy& policy) {
  std::string text =
      absl::StrCat(RuleName(policy.rule),
                   std::visit([](const auto& rule) { return Numbers(rule); }, policy.rule));
  const auto* const wait_k = std::get_if<WaitK>(&policy.rule);
  if (wait_k != nullptr && wait_k->count_words) text += "+count-words";
  if (policy.read_tokens > 0) absl::StrAppend(&text, "+read-tokens=", policy.read_tokens);
  if (policy.read_words > 0) absl::StrAppend(&text, "+read-words=", policy.read_words);
  if (policy.read_ms > 0) absl::StrAppend(&text, "+read-ms=", policy.read_ms);
  if (policy.past != Past::kDefault) absl::StrAppend(&text, "+past=", PastName(policy.past));
  if (policy.prefix_end) absl::StrAppend(&text, "+prefix-end=", *policy.prefix_end ? "on" : "off");
  return text;
}

std::string RuleName(const PolicyRule& rule) { return kRules[rule.index()].text; }

std::string RuleNameOfWire(absl::string_view name) {
  const auto* const found = std::find_if(kRules.begin() + 1, kRules.end(), [&](const auto& each) {
    return each.wire == name;
  });
  return found == kRules.end() ? std::string(name) : found->text;
}

const char* PastName(Past past) {
  switch (past) {
    case Past::kFrozen:
      return "frozen";
    case Past::kRefreshed:
      return "refreshed";
    case Past::kDefault:
      break;
  }
  return "";
}

}  // namespace leapstream::client
