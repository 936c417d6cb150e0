#include "client/cli/policy_flags.h"

#include <iterator>
#include <utility>
#include <variant>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace leapstream::client {
namespace {

constexpr int kMostK = 1 << 20;

// Whether `text` is "1,3,5": each number once.
bool AreKs(absl::string_view text) {
  std::vector<int> ks;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int k = 0;
    if (!absl::SimpleAtoi(part, &k) || k < 1 || k > kMostK || absl::c_linear_search(ks, k)) {
      return false;
    }
    ks.push_back(k);
  }
  return true;
}

const CLI::Validator kKs(
    [](std::string& text) -> std::string {
      return AreKs(text) ? ""
                         : absl::StrCat("want different numbers from 1 to ", kMostK,
                                        " with a comma between them, such as 1,3,5; got ", text);
    },
    "K[,K...]");

const CLI::Validator kPolicy(
    [](std::string& text) { return std::string(ParsePolicy(text).status().message()); },
    "NAME[:N...]");

const CLI::Validator kPolicies(
    [](std::string& text) { return std::string(ParsePolicies(text).status().message()); },
    "NAME[:N,...] ...");

}  // namespace

void PolicyFlags::AddTo(CLI::App* command, Number number) {
  command_ = command;
  const bool several = number == Number::kSeveral;
  CLI::Option* const policy =
      command
          ->add_option(several ? "--policies" : "--policy", texts_,
                       several ? "to compare, each a text as of translate --policy, with several "
                                 "first numbers such as wait-k:3,5,7 la:2 hold:3 alignatt:2,4"
                               : "wait-k:3, la:2, hold:3, alignatt:2, adaptive:1-9:0.9:0.4, "
                                 "offline or learned; default: what the model was trained with")
          ->check(several ? kPolicies : kPolicy);
  if (!several) policy->expected(1);
  CLI::Option* const k =
      several ? command->add_option("--k", ks_, "of wait-k, in source pieces, such as 1,3,5")
                    ->check(kKs)
              : command->add_option("--k", ks_, "of wait-k: source tokens (pieces) read ahead")
                    ->check(CLI::Range(1, kMostK));
  k->excludes(policy);
  command->add_flag("--offline", offline_, "read each segment to its end first")
      ->excludes(k)
      ->excludes(policy);
  command->add_flag("--count-words", count_words_, "wait-k counts words instead of pieces");
  CLI::Option* const words =
      command
          ->add_option("--read-words", read_words_,
                       "source words read between two decisions; default: the policy's")
          ->check(CLI::Range(1, kMostK));
  command->add_option("--read-tokens", read_tokens_, "the same in source tokens")
      ->check(CLI::Range(1, kMostK))
      ->excludes(words);
  command
      ->add_option("--read-ms", read_ms_,
                   "speech: the audio of one READ, a multiple of 40; default: the model's")
      ->check(CLI::Range(1, kMostK));
  command
      ->add_option("--past", past_,
                   "decoder rows of written tokens, with bidirectional encoders: frozen, or "
                   "refreshed when source was read; default: the policy's")
      ->check(CLI::IsMember({"frozen", "refreshed"}));
  command
      ->add_option("--prefix-end", prefix_end_,
                   "whether a bidirectional encoder sees </s> behind unfinished source; default: "
                   "the policy's")
      ->check(CLI::IsMember({"on", "off"}));
}

std::vector<Policy> PolicyFlags::Rules() const {
  std::vector<std::string> texts = texts_;
  if (!ks_.empty()) texts.push_back(absl::StrCat("wait-k:", ks_));
  if (offline_) texts.emplace_back("offline");
  if (texts.empty()) return {Policy()};
  std::vector<Policy> rules;
  for (const std::string& text : texts) {
    absl::c_move(*ParsePolicies(text), std::back_inserter(rules));  // The checks have passed it.
  }
  return rules;
}

std::vector<Policy> PolicyFlags::Policies() const {
  std::vector<Policy> policies = Rules();
  std::vector<std::string> seen;
  for (Policy& policy : policies) {
    // In a list the flags are for those that decide more than once.
    const bool decides_once = std::holds_alternative<Offline>(policy.rule);
    if (!decides_once || policies.size() == 1) Complete(policy);
    seen.push_back(ToText(policy));
    if (absl::c_count(seen, seen.back()) > 1) {
      throw CLI::ValidationError("--policies",
                                 absl::StrCat("want different policies, got ", seen.back(),
                                              " more than once"));
    }
  }
  return policies;
}

void PolicyFlags::Complete(Policy& policy) const {
  const auto refuse = [&](const char* flag, absl::string_view why) {
    throw CLI::ValidationError(flag, absl::StrCat(why, ", got ", ToText(policy)));
  };
  if (count_words_) {
    auto* const wait_k = std::get_if<WaitK>(&policy.rule);
    if (wait_k == nullptr) {
      refuse("--count-words", "want wait-k with it, by --k or --policy wait-k:K");
      return;
    }
    wait_k->count_words = true;
  }
  if (policy.read_words == 0 && policy.read_tokens == 0) {
    policy.read_words = read_words_;
    policy.read_tokens = read_tokens_;
  }
  if (policy.read_ms == 0) policy.read_ms = read_ms_;
  if (policy.past == Past::kDefault && !past_.empty()) {
    policy.past = past_ == "frozen" ? Past::kFrozen : Past::kRefreshed;
  }
  if (!policy.prefix_end.has_value() && !prefix_end_.empty()) {
    policy.prefix_end = prefix_end_ == "on";
  }
}

}  // namespace leapstream::client
