#include "server/wire/policy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "server/status_mapping.h"
#include "server/wire/session_config.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

ModelInfo Info() {
  ModelInfo model;
  model.name = "en-de";
  model.default_k = 3;
  return model;
}

v1::SessionConfig With(const std::function<void(v1::DecodingPolicy&)>& set) {
  v1::SessionConfig config;
  set(*config.mutable_policy());
  return config;
}

// The policy as SessionStarted has it.
v1::DecodingPolicy Effective(const v1::SessionConfig& config, const ModelInfo& model = Info()) {
  const auto options = ToSessionOptions(config, SessionLimits(), model);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? EffectiveConfig(config, *options, model).policy() : v1::DecodingPolicy();
}

std::string Digest(const v1::SessionConfig& config) {
  const auto options = ToSessionOptions(config, SessionLimits(), Info());
  EXPECT_TRUE(options.ok()) << options.status();
  return ConfigDigest(EffectiveConfig(config, *options, Info()), *options);
}

TEST(PolicyConfigTest, NumbersThatAreNotSetAreTheDefaultsAndShown) {
  const auto la = Effective(With([](auto& p) { p.mutable_local_agreement(); }));
  EXPECT_EQ(la.local_agreement().n(), 2);
  EXPECT_EQ(la.local_agreement().max_lag(), 12);
  const auto hold = Effective(With([](auto& p) { p.mutable_hold_n(); }));
  EXPECT_EQ(hold.hold_n().n(), 3);
  EXPECT_EQ(hold.hold_n().max_lag(), 12);
  const auto align_att = Effective(With([](auto& p) { p.mutable_align_att(); }));
  EXPECT_EQ(align_att.align_att().frames(), 2);
  EXPECT_EQ(align_att.align_att().max_lag(), 12);
  const auto adaptive = Effective(With([](auto& p) { p.mutable_adaptive_wait_k(); }));
  EXPECT_EQ(adaptive.adaptive_wait_k().min_k(), 1);
  EXPECT_EQ(adaptive.adaptive_wait_k().max_k(), 9);
  EXPECT_EQ(adaptive.adaptive_wait_k().min_k_threshold(), 0.9);
  EXPECT_EQ(adaptive.adaptive_wait_k().max_k_threshold(), 0.4);
  const auto none = Effective({});
  EXPECT_EQ(none.wait_k().k(), 3) << "the model's";
  EXPECT_EQ(none.read_tokens(), 0);
  EXPECT_EQ(none.past(), v1::PAST_UNSPECIFIED);
  EXPECT_FALSE(none.has_prefix_end());
}

TEST(PolicyConfigTest, WhatIsAskedForIsSetAndShown) {
  const auto config = With([](auto& p) {
    p.mutable_local_agreement()->set_n(4);
    p.mutable_local_agreement()->set_max_lag(-1);
    p.set_read_words(3);
    p.set_past(v1::PAST_REFRESHED);
    p.set_prefix_end(false);
  });
  const auto options = ToSessionOptions(config, SessionLimits(), Info());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(std::get<LocalAgreement>(options->policy).n, 4);
  EXPECT_EQ(std::get<LocalAgreement>(options->policy).max_lag, -1);
  EXPECT_EQ(options->read_words, 3);
  EXPECT_EQ(options->past, Past::kRefreshed);
  EXPECT_EQ(options->prefix_end, false);
  const v1::DecodingPolicy shown = EffectiveConfig(config, *options, Info()).policy();
  EXPECT_EQ(shown.local_agreement().n(), 4);
  EXPECT_EQ(shown.local_agreement().max_lag(), -1);
  EXPECT_EQ(shown.read_words(), 3);
  EXPECT_EQ(shown.past(), v1::PAST_REFRESHED);
  EXPECT_TRUE(shown.has_prefix_end());

  const auto hold = With([](auto& p) {
    p.mutable_hold_n()->set_n(5);
    p.set_past(v1::PAST_FROZEN);
    p.set_read_tokens(7);
  });
  EXPECT_EQ(Effective(hold).hold_n().n(), 5);
  EXPECT_EQ(Effective(hold).past(), v1::PAST_FROZEN);
  EXPECT_EQ(Effective(hold).read_tokens(), 7);
  EXPECT_EQ(Effective(With([](auto& p) { p.mutable_align_att()->set_frames(6); }))
                .align_att()
                .frames(),
            6);
  const auto adaptive = Effective(With([](auto& p) {
    p.mutable_adaptive_wait_k()->set_min_k(2);
    p.mutable_adaptive_wait_k()->set_max_k(5);
    p.mutable_adaptive_wait_k()->set_min_k_threshold(0.75);
    p.mutable_adaptive_wait_k()->set_max_k_threshold(0.25);
  }));
  EXPECT_EQ(adaptive.adaptive_wait_k().min_k(), 2);
  EXPECT_EQ(adaptive.adaptive_wait_k().max_k(), 5);
  EXPECT_EQ(adaptive.adaptive_wait_k().min_k_threshold(), 0.75);
  EXPECT_EQ(adaptive.adaptive_wait_k().max_k_threshold(), 0.25);
  EXPECT_TRUE(Effective(With([](auto& p) {
                p.mutable_wait_k()->set_k(3);
                p.mutable_wait_k()->set_count_words(true);
              }))
                  .wait_k()
                  .count_words());
}

TEST(PolicyConfigTest, EverySettingDecidesTheDigest) {
  const std::string plain = Digest({});
  EXPECT_EQ(plain, Digest(With([](auto& p) { p.mutable_wait_k()->set_k(3); })));
  const std::function<void(v1::DecodingPolicy&)> settings[] = {
      [](auto& p) { p.mutable_wait_k()->set_k(3), p.mutable_wait_k()->set_count_words(true); },
      [](auto& p) { p.mutable_local_agreement(); },
      [](auto& p) { p.mutable_local_agreement()->set_n(3); },
      [](auto& p) { p.mutable_local_agreement()->set_max_lag(-1); },
      [](auto& p) { p.mutable_hold_n(); },
      [](auto& p) { p.mutable_hold_n()->set_max_lag(5); },
      [](auto& p) { p.mutable_align_att(); },
      [](auto& p) { p.mutable_align_att()->set_frames(3); },
      [](auto& p) { p.mutable_adaptive_wait_k(); },
      [](auto& p) { p.mutable_adaptive_wait_k()->set_max_k_threshold(0.5); },
      [](auto& p) { p.set_read_tokens(2); },
      [](auto& p) { p.set_read_words(2); },
      [](auto& p) { p.set_read_ms(80); },
      [](auto& p) { p.set_past(v1::PAST_FROZEN); },
      [](auto& p) { p.set_past(v1::PAST_REFRESHED); },
      [](auto& p) { p.set_prefix_end(false); },
      [](auto& p) { p.set_prefix_end(true); }};
  std::vector<std::string> seen = {plain};
  for (const auto& set : settings) {
    const std::string digest = Digest(With(set));
    EXPECT_THAT(seen, Not(Contains(digest))) << seen.size();
    seen.push_back(digest);
  }
}

TEST(PolicyConfigTest, WhatAPolicyDoesNotTakeIsRefused) {
  const auto refusal = [](const std::function<void(v1::DecodingPolicy&)>& set) {
    return ToSessionOptions(With(set), SessionLimits(), Info()).status();
  };
  const auto unknown = refusal([](auto& p) { p.set_past(static_cast<v1::Past>(9)); });
  EXPECT_EQ(ReasonOf(unknown), "UNKNOWN_ENUM_VALUE");
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("no past has the number 9"));
  const std::function<void(v1::DecodingPolicy&)> settings[] = {
      [](auto& p) { p.set_read_tokens(2); }, [](auto& p) { p.set_read_words(2); },
      [](auto& p) { p.set_past(v1::PAST_FROZEN); }, [](auto& p) { p.set_prefix_end(false); },
      [](auto& p) { p.set_read_ms(80); }};
  const char* const names[] = {"read_tokens", "read_words", "past", "prefix_end", "read_ms"};
  for (size_t i = 0; i < 5; ++i) {
    const auto status = refusal([&](auto& p) {
      p.mutable_offline();
      settings[i](p);
    });
    EXPECT_EQ(ReasonOf(status), "INVALID_POLICY") << names[i];
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string("takes no ") + names[i]));
  }
}

TEST(PolicyConfigTest, AModelNamesThePoliciesThatItTakes) {
  ModelInfo model = Info();
  const auto names = PolicyNames(model);
  for (const char* name : {"wait_k", "offline", "local_agreement", "hold_n", "adaptive_wait_k"}) {
    EXPECT_THAT(names, Contains(name));
  }
  EXPECT_THAT(names, Not(Contains("learned")));
  EXPECT_THAT(names, Not(Contains("align_att")));
  model.shows_attention = true;
  EXPECT_THAT(PolicyNames(model), Contains("align_att"));
  model.min_k = model.max_k = 5;  // The examples are of the model's range.
  EXPECT_THAT(PolicyNames(model), Contains("wait_k"));
  EXPECT_THAT(PolicyNames(model), Contains("adaptive_wait_k"));
  model.learned_policy = true;
  EXPECT_THAT(PolicyNames(model), ElementsAre("offline", "learned"));
}

TEST(PolicyConfigTest, DefaultsAreOfTheModelsRange) {
  ModelInfo model = Info();
  const auto config = With([](auto& p) { p.mutable_adaptive_wait_k(); });
  model.min_k = 3;
  model.max_k = 7;
  EXPECT_EQ(Effective(config, model).adaptive_wait_k().min_k(), 3);
  EXPECT_EQ(Effective(config, model).adaptive_wait_k().max_k(), 7);
}

TEST(PolicyConfigTest, WhatAModelWasCalibratedToStandsForWhatIsNotAsked) {
  ModelInfo model = Info();
  model.shows_attention = true;
  model.alignment_frames = 5;
  model.adaptive_thresholds = {0.75f, 0.25f};
  const auto none = With([](auto& p) { p.mutable_align_att(); });
  EXPECT_EQ(Effective(none, model).align_att().frames(), 5);
  const auto frames = With([](auto& p) { p.mutable_align_att()->set_frames(1); });
  EXPECT_EQ(Effective(frames, model).align_att().frames(), 1);
  const auto adaptive =
      With([](auto& p) { p.mutable_adaptive_wait_k()->set_max_k_threshold(0.5); });
  EXPECT_EQ(Effective(adaptive, model).adaptive_wait_k().min_k_threshold(), 0.75);
  EXPECT_EQ(Effective(adaptive, model).adaptive_wait_k().max_k_threshold(), 0.5);
}

// The past that holds is shown where there are two.
TEST(PolicyConfigTest, ThePastOfAModelIsShown) {
  ModelInfo model = Info();
  const auto la = With([](auto& p) { p.mutable_local_agreement(); });
  EXPECT_EQ(Effective(la, model).past(), v1::PAST_UNSPECIFIED);
  model.bidirectional_encoder = true;
  SessionOptions options;
  options.policy = LocalAgreement();
  EXPECT_EQ(Effective(la, model).past(),
            RefreshesPast(options, model) ? v1::PAST_REFRESHED : v1::PAST_FROZEN);
  const auto frozen = With([](auto& p) {
    p.mutable_local_agreement();
    p.set_past(v1::PAST_FROZEN);
  });
  EXPECT_EQ(Effective(frozen, model).past(), v1::PAST_FROZEN);
  EXPECT_EQ(Effective({}, model).past(), v1::PAST_UNSPECIFIED);
}

}  // namespace
}  // namespace leapstream
