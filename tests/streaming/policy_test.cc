#include "streaming/policy.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

// Wait-k with a source of `length` tokens is never early, never stuck, and never READs past the
// end.
TEST(WaitKTest, IsNeverEarlyAndNeverStuck) {
  for (int k = 1; k <= 12; ++k) {
    for (int stride = 1; stride <= 3; ++stride) {
      for (int length = 1; length <= 20; ++length) {
        const WaitK policy{k, stride};
        Progress progress;
        for (int step = 0; step < 100; ++step) {
          const bool finished = progress.source_read == length;
          progress.source_finished = finished;
          const int due = std::min(k + progress.target_written / stride, length);
          if (policy.Decide(progress) == Action::kRead) {
            ASSERT_FALSE(finished);
            ASSERT_LT(progress.source_read, due) << "k " << k << " stride " << stride;
            ++progress.source_read;
          } else {
            ASSERT_GE(progress.source_read, due) << "k " << k << " stride " << stride;
            ++progress.target_written;
          }
        }
        EXPECT_EQ(length, progress.source_read);
      }
    }
  }
}

TEST(WaitKTest, OfflineReadsEverythingFirst) {
  const Offline policy;
  EXPECT_EQ(Action::kRead, policy.Decide({1000, 0, false}));
  EXPECT_EQ(Action::kWrite, policy.Decide({1000, 0, true}));
}

TEST(WaitKTest, LagsByOneMoreForEachReadOn) {
  Progress progress{3, 0, false};
  EXPECT_EQ(Action::kWrite, WaitK{3}.Decide(progress));
  progress.lag = 1;
  EXPECT_EQ(Action::kRead, WaitK{3}.Decide(progress));
}

TEST(LearnedTest, TriesAWriteAsSoonAsItCanAndReadsWhatIsWanted) {
  const Learned policy;
  EXPECT_EQ(Action::kRead, policy.Decide({0, 0, false}));
  EXPECT_EQ(Action::kWrite, policy.Decide({1, 0, false}));
  Progress progress{1, 0, false};
  progress.wanted = 2;
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
  progress.source_read = 2;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  progress.wanted = 3;
  progress.source_finished = true;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress)) << "there is no more to read";
}

TEST(PolicyTest, ModelsTakeThePoliciesThatFitThem) {
  ModelInfo wait_k, learned, trained_offline;
  wait_k.max_k = 10;
  wait_k.default_k = 4;
  learned.learned_policy = true;
  trained_offline.default_k = 0;
  EXPECT_EQ("k=4", ToString(DefaultPolicy(wait_k)));
  EXPECT_EQ("learned", ToString(DefaultPolicy(learned)));
  EXPECT_EQ("offline", ToString(DefaultPolicy(trained_offline)));
  EXPECT_TRUE(CheckFor(WaitK{10}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{11}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{0}, wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{1, 0}, wait_k).ok());
  EXPECT_FALSE(CheckFor(Learned(), wait_k).ok());
  EXPECT_FALSE(CheckFor(WaitK{3}, learned).ok());
  EXPECT_TRUE(CheckFor(WaitK{3}, trained_offline).ok()) << "test-time wait-k";
  for (const ModelInfo* model : {&wait_k, &learned, &trained_offline}) {
    EXPECT_TRUE(CheckFor(Offline(), *model).ok());
    EXPECT_TRUE(CheckFor(DefaultPolicy(*model), *model).ok());
  }
}

TEST(WaitKTest, HugeKDoesNotOverflow) {
  const WaitK policy{2147483647};
  EXPECT_EQ(Action::kRead, policy.Decide({5, 2147483647, false}));
}

TEST(WaitKTest, CountsWords) {
  WaitK policy{2, 1, true};
  Progress progress;
  progress.source_words = 1;
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
  progress.source_words = 2;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  EXPECT_TRUE(policy.Admits(progress, {}, /*begins_word=*/true));
  progress.target_words = 1;  // The first word may go on, but no other may begin.
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  EXPECT_TRUE(policy.Admits(progress, {}, /*begins_word=*/false));
  EXPECT_FALSE(policy.Admits(progress, {}, /*begins_word=*/true));
  progress.awaits_word = true;
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
  progress.source_words = 3;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  progress.source_words = 0;
  progress.source_finished = true;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
}

Decision WithProbability(double probability) {
  Decision decision;
  decision.best.log_prob = static_cast<float>(std::log(probability));
  return decision;
}

TEST(AdaptiveWaitKTest, AdmitsWhatIsProbableEnoughForItsLag) {
  const AdaptiveWaitK policy{1, 5, 0.9, 0.5};
  Progress progress;
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
  progress.source_read = 1;
  EXPECT_EQ(Action::kWrite, policy.Decide(progress));
  EXPECT_TRUE(policy.Admits(progress, WithProbability(0.91)));
  EXPECT_FALSE(policy.Admits(progress, WithProbability(0.89)));
  progress.source_read = 3;  // Half of the way from min_k to max_k.
  EXPECT_TRUE(policy.Admits(progress, WithProbability(0.71)));
  EXPECT_FALSE(policy.Admits(progress, WithProbability(0.69)));
  progress.source_read = 5;
  EXPECT_FALSE(policy.Admits(progress, WithProbability(0.49)));
  progress.source_read = 6;
  EXPECT_TRUE(policy.Admits(progress, WithProbability(0.01)));
  progress.source_read = 1;
  progress.source_finished = true;
  EXPECT_TRUE(policy.Admits(progress, WithProbability(0.01)));
  progress.source_finished = false;
  progress.wanted = 2;  // The step was not admitted.
  EXPECT_EQ(Action::kRead, policy.Decide(progress));
}

TEST(DraftPolicyTest, LooksOnceAfterEachChunk) {
  for (const Policy& policy : {Policy(LocalAgreement()), Policy(HoldN()), Policy(AlignAtt())}) {
    Progress progress;
    EXPECT_EQ(Action::kRead, Decide(policy, progress));
    progress.source_read = 1;
    EXPECT_EQ(Action::kWrite, Decide(policy, progress));
    progress.looked = 1;
    EXPECT_EQ(Action::kRead, Decide(policy, progress));
    progress.source_read = 2;
    progress.within_chunk = true;
    EXPECT_EQ(Action::kRead, Decide(policy, progress));
    progress.source_finished = true;
    EXPECT_EQ(Action::kWrite, Decide(policy, progress));
  }
}

TEST(DraftPolicyTest, RefusesWhatAModelCannotDo) {
  ModelInfo model;
  EXPECT_TRUE(LocalAgreement().CheckFor(model).ok());
  EXPECT_FALSE(LocalAgreement{1}.CheckFor(model).ok());
  EXPECT_FALSE(AlignAtt().CheckFor(model).ok());
  model.shows_attention = true;
  EXPECT_TRUE(AlignAtt().CheckFor(model).ok());
  EXPECT_FALSE((AdaptiveWaitK{3, 2}.CheckFor(model).ok()));
  EXPECT_FALSE((AdaptiveWaitK{1, 2, 1.5}.CheckFor(model).ok()));
  model.learned_policy = true;
  for (const Policy& policy : {Policy(LocalAgreement()), Policy(HoldN()), Policy(AlignAtt()),
                               Policy(AdaptiveWaitK())}) {
    EXPECT_FALSE(CheckFor(policy, model).ok()) << ToString(policy);
  }
}

}  // namespace
}  // namespace leapstream
