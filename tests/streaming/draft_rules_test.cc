#include "streaming/draft_rules.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "streaming/target_units.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

TEST(DraftRulesTest, FindsWhatRepeats) {
  EXPECT_EQ(RepeatedTokens({1, 2, 3, 9, 9, 9, 9, 9}), 4);
  EXPECT_EQ(RepeatedTokens({9, 9, 9, 9, 9}), 0);  // Fewer than eight tokens may be meant so.
  EXPECT_EQ(RepeatedTokens({1, 2, 8, 9, 8, 9, 8, 9}), 4);
  EXPECT_EQ(RepeatedTokens({7, 8, 9, 7, 8, 9, 7, 8, 9}), 6);
  EXPECT_EQ(RepeatedTokens({7, 8, 9, 7, 8, 9, 7, 8, 8}), 0);
  EXPECT_EQ(RepeatedTokens({1, 2, 3, 4, 9, 9, 9, 9}), 0);
}

TEST(DraftRulesTest, ADraftHasABoundedLength) {
  EXPECT_EQ(MostDraftTokens({10, 2, 0}), 12);
  EXPECT_EQ(MostDraftTokens({10, 10, 20}), 5);
  EXPECT_EQ(MostDraftTokens({10, 10, 40}), 0);
}

TEST(DraftRulesTest, AgreementNeedsFewNewTokens) {
  EXPECT_EQ(MostNewTokens(LocalAgreement(), 1, true), 2);
  EXPECT_EQ(MostNewTokens(LocalAgreement(), 5, true), 5);
  EXPECT_EQ(MostNewTokens(LocalAgreement(), 5, false), 1);
  EXPECT_GT(MostNewTokens(HoldN(), 1, false), 1000);
}

TEST(DraftRulesTest, KeepsWhatThePolicyAllows) {
  EXPECT_EQ(Keeps(LocalAgreement{2}, {3, 2, 1, 1}), 2);
  EXPECT_EQ(Keeps(LocalAgreement{3}, {3, 2, 1, 1}), 1);
  EXPECT_EQ(Keeps(HoldN{3}, {1, 1, 1, 1}), 1);
  EXPECT_EQ(Keeps(HoldN{3}, {1}), 0);
  EXPECT_EQ(Keeps(AlignAtt{}, {1, 1}), 2);
}

TEST(DraftRulesTest, IsUnsafeWhereTheSourceMayGoOn) {
  Decision decision;
  const AlignAtt two{2};
  EXPECT_TRUE(IsUnsafe(two, decision, 1));  // It has nothing to look at.
  decision.attended = 6;
  EXPECT_FALSE(IsUnsafe(two, decision, 10));
  decision.attended = 7;
  EXPECT_TRUE(IsUnsafe(two, decision, 10));
  EXPECT_FALSE(IsUnsafe(AlignAtt{1}, decision, 10));
  EXPECT_FALSE(IsUnsafe(LocalAgreement(), decision, 8));
}

class TargetUnitsTest : public testing::Test {
 protected:
  TokenId Id(const std::string& symbol) const { return model_->target_vocabulary.Id(symbol); }

  const std::shared_ptr<const Model> model_ = FakeModel();
  const TargetUnits units_{*model_};
};

TEST_F(TargetUnitsTest, AUnitGoesFromSpaceToSpace) {
  const TokenId the = Id("\u2581the"), in = Id("in"), an = Id("\u2581an");
  const TargetUnits::Around to_end{TargetUnits::kNone, kEndOfSentence, kEndOfSentence};
  const TargetUnits::Around to_new{TargetUnits::kNone, an, kEndOfSentence};
  const TargetUnits::Around to_rest{TargetUnits::kNone, in, kEndOfSentence};
  EXPECT_EQ(units_.Whole({the, in, an}, 3, to_end), 3);
  EXPECT_EQ(units_.Whole({the, in, an}, 3, to_rest), 2);
  EXPECT_EQ(units_.Whole({the, in, an}, 1, to_end), 0);
  EXPECT_EQ(units_.Whole({the, in}, 2, to_new), 2);
  EXPECT_EQ(units_.First({the, in, an}, to_end), 2);
  EXPECT_EQ(units_.First({the, in}, to_rest), 0);
}

TEST_F(TargetUnitsTest, NoCharacterIsCut) {
  const TokenId the = Id("\u2581the"), lead = Id("<0xC3>"), rest = Id("<0xA4>");
  const TargetUnits::Around to_end{TargetUnits::kNone, kEndOfSentence, kEndOfSentence};
  EXPECT_FALSE(units_.EndsCharacter({the, lead}));
  EXPECT_TRUE(units_.EndsCharacter({the, lead, rest}));
  EXPECT_EQ(units_.Whole({the, lead}, 2, to_end), 0);
  EXPECT_EQ(units_.Whole({the, lead, rest}, 3, to_end), 3);
}

TEST(TargetUnitsOfHanTest, EachPieceIsAUnit) {
  FakeModelOptions fake;
  fake.target_language = "zh";
  const auto model = FakeModel(fake);
  const TargetUnits units(*model);
  const TargetUnits::Around to_rest{TargetUnits::kNone, 6, kEndOfSentence};
  EXPECT_EQ(units.Whole({4, 5, 6}, 3, to_rest), 3);
  EXPECT_EQ(units.First({4, 5, 6}, to_rest), 1);
}

}  // namespace
}  // namespace leapstream
