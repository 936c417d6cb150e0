#include "client/policy.h"

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PolicyTest, TextsAreReadWhole) {
  const auto la = ParsePolicy("la:3:20+read-words=2+past=refreshed+prefix-end=off");
  ASSERT_TRUE(la.ok()) << la.status();
  const auto& agreement = std::get<LocalAgreement>(la->rule);
  EXPECT_EQ(agreement.n, 3);
  EXPECT_EQ(agreement.max_lag, 20);
  EXPECT_EQ(la->read_words, 2);
  EXPECT_EQ(la->read_tokens, 0);
  EXPECT_EQ(la->past, Past::kRefreshed);
  EXPECT_EQ(la->prefix_end, false);
  const auto adaptive = ParsePolicy("adaptive:2-7:0.95:0.25+read-tokens=3");
  ASSERT_TRUE(adaptive.ok()) << adaptive.status();
  const auto& rule = std::get<AdaptiveWaitK>(adaptive->rule);
  EXPECT_EQ(rule.min_k, 2);
  EXPECT_EQ(rule.max_k, 7);
  EXPECT_EQ(rule.min_k_threshold, 0.95);
  EXPECT_EQ(rule.max_k_threshold, 0.25);
  EXPECT_EQ(adaptive->read_tokens, 3);
  EXPECT_FALSE(adaptive->prefix_end.has_value());
  EXPECT_EQ(std::get<HoldN>(ParsePolicy("hold:3:-1")->rule).max_lag, -1);
  EXPECT_TRUE(std::get<WaitK>(ParsePolicy("wait-k:3:2+count-words")->rule).count_words);
}

TEST(PolicyTest, AShortestTextIsWhatItWasReadFrom) {
  for (const char* text :
       {"default", "wait-k:3", "wait-k:3:2", "wait-k:3+count-words", "offline", "learned", "la",
        "la:2", "la:2:-1", "hold", "hold:3:5", "alignatt", "alignatt:2", "adaptive", "adaptive:1-9",
        "adaptive:1-9:0.9", "adaptive:1-9:0.9:0.4", "default+read-words=2",
        "alignatt:2+read-tokens=2", "la:2+past=frozen", "la:2+prefix-end=on", "la:2+read-ms=480"}) {
    const auto policy = ParsePolicy(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_EQ(ToText(*policy), text);
  }
  EXPECT_EQ(ToText(*ParsePolicy("wait-k:3:1")), "wait-k:3");  // A server tells its defaults.
  EXPECT_EQ(ToText(Policy()), "default");
}

TEST(PolicyTest, AWrongTextSaysWhatToWrite) {
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {"", "want wait-k:K, la:N"},
      {"wait", "want wait-k:K, la:N"},
      {"Wait-k:3", "want wait-k:K, la:N"},
      {"k=3", "want wait-k:K, la:N"},
      {"wait-k", "want wait-k:K or wait-k:K:STRIDE"},
      {"wait-k:", "want wait-k:K or wait-k:K:STRIDE"},
      {"wait-k:0", "numbers from 1 on, got wait-k:0"},
      {"wait-k:-1", "want wait-k:K"},
      {"wait-k:3,5", "want wait-k:K"},
      {"wait-k:3:1:1", "want wait-k:K"},
      {"wait-k:99999999999", "want wait-k:K"},
      {"offline:1", "want offline"},
      {"learned:1", "want learned"},
      {"la:x", "want la, la:N or la:N:LAG"},
      {"la:2:-2", "want la, la:N or la:N:LAG"},
      {"la::3", "want la, la:N or la:N:LAG"},
      {"hold:2:3:4", "want hold"},
      {"alignatt:1.5", "want alignatt"},
      {"adaptive:9", "want adaptive, or adaptive:MIN-MAX"},
      {"adaptive:1-9:1.5", "want adaptive"},
      {"adaptive:1-9:0.9:nan", "want adaptive"},
      {"adaptive:1-9:0.9:0.4:1", "want adaptive"},
      {"la:2+count-words", "with wait-k +count-words, got +count-words"},
      {"la:2+", "got +"},
      {"la:2+read-words=0", "got +read-words=0"},
      {"la:2+past=warm", "+past=frozen or refreshed"},
      {"la:2+prefix-end", "+prefix-end=on or off"},
      {"la:2+read-words=2+read-tokens=3", "got both"}};
  for (const auto& [text, message] : wrong) {
    const auto policy = ParsePolicy(text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(message)) << text;
  }
}

TEST(PolicyTest, SeveralDifferInTheirFirstNumber) {
  const auto texts = [](const char* list) {
    std::vector<std::string> result;
    const auto policies = ParsePolicies(list);
    EXPECT_TRUE(policies.ok()) << policies.status();
    if (policies.ok()) {
      for (const Policy& policy : *policies) result.push_back(ToText(policy));
    }
    return result;
  };
  EXPECT_THAT(texts("wait-k:3,5,7"), ElementsAre("wait-k:3", "wait-k:5", "wait-k:7"));
  EXPECT_THAT(texts("la"), ElementsAre("la"));
  EXPECT_THAT(texts("offline"), ElementsAre("offline"));
  EXPECT_THAT(texts("la+read-words=2"), ElementsAre("la+read-words=2"));
  EXPECT_THAT(texts("alignatt:2,4:9+read-words=2"),
              ElementsAre("alignatt:2:9+read-words=2", "alignatt:4:9+read-words=2"));
  EXPECT_THAT(texts("adaptive:1-5,2-9:0.9:0.4"),
              ElementsAre("adaptive:1-5:0.9:0.4", "adaptive:2-9:0.9:0.4"));
  for (const char* wrong : {"wait-k:3,", "wait-k:,3", "wait-k:3,,5", "la,hold", "la:2,x"}) {
    EXPECT_FALSE(ParsePolicies(wrong).ok()) << wrong;
  }
}

TEST(PolicyTest, TheWiresNamesAreThoseOfTexts) {
  EXPECT_EQ(RuleNameOfWire("local_agreement"), "la");
  EXPECT_EQ(RuleNameOfWire("wait_k"), "wait-k");
  EXPECT_EQ(RuleNameOfWire("adaptive_wait_k"), "adaptive");
  EXPECT_EQ(RuleNameOfWire("something_newer"), "something_newer");
}

}  // namespace
}  // namespace leapstream::client
