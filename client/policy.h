#ifndef LEAPSTREAM_CLIENT_POLICY_H_
#define LEAPSTREAM_CLIENT_POLICY_H_

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Policies: when the server reads source, and when it writes target. docs/policies.md explains them
// and their texts, such as "la:2+read-words=3".
namespace leapstream::client {

// In each of these a number that is 0 is left to the server. The server also checks the ranges.
struct WaitK {
  int k = 0;
  int write_stride = 0;
  bool count_words = false;
};
struct Offline {};
struct Learned {};
struct LocalAgreement {
  int n = 0;
  int max_lag = 0;  // -1: no progress is forced. The same holds below.
};
struct HoldN {
  int n = 0;
  int max_lag = 0;
};
struct AlignAtt {
  int frames = 0;
  int max_lag = 0;
};
struct AdaptiveWaitK {
  int min_k = 0;
  int max_k = 0;
  double min_k_threshold = 0;
  double max_k_threshold = 0;
};

// std::monostate: the one that the model was trained with.
using PolicyRule = std::variant<std::monostate, WaitK, Offline, Learned, LocalAgreement, HoldN,
                                AlignAtt, AdaptiveWaitK>;

enum class Past { kDefault, kFrozen, kRefreshed };

// A rule, and what goes with any rule. The values that are not set are left to the server.
struct Policy {
  PolicyRule rule = {};
  int read_tokens = 0;  // Source tokens read between two decisions. At most one of the two is set.
  int read_words = 0;
  int read_ms = 0;  // For speech: the audio of one READ.
  Past past = Past::kDefault;
  std::optional<bool> prefix_end = {};
};

// The policy of a text: a rule with its numbers, and options.
//   default  wait-k:K[:STRIDE]  offline  learned  la[:N[:LAG]]  hold[:N[:LAG]]
//   alignatt[:FRAMES[:LAG]]  adaptive[:MIN-MAX[:THRESHOLD[:THRESHOLD]]]
//   +count-words  +read-tokens=N  +read-words=N  +past=frozen|refreshed  +prefix-end=on|off
// INVALID_ARGUMENT: `text` is none; the message says what to write.
absl::StatusOr<Policy> ParsePolicy(absl::string_view text);

// ParsePolicy() for several policies that differ in their first number: "wait-k:3,5,7+read-words=2".
absl::StatusOr<std::vector<Policy>> ParsePolicies(absl::string_view text);

// The text that ParsePolicy() takes, in its shortest form.
std::string ToText(const Policy& policy);

// The name of the rule as texts have it, such as "la".
std::string RuleName(const PolicyRule& rule);
// RuleName() of a name that the wire uses (Model.policies), such as "local_agreement". A name that
// this client does not know stays as it is.
std::string RuleNameOfWire(absl::string_view name);

// "frozen" and "refreshed"; "": kDefault.
const char* PastName(Past past);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_POLICY_H_
