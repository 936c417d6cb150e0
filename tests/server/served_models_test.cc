// The versions of a model that are there after reloads, and for how long.
#include "server/served_models.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "streaming/glossary.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

std::shared_ptr<const Model> Version(const std::string& checksum) {
  FakeModelOptions options;
  options.checksum = checksum;
  return FakeModel(options);
}

class ServedModelsTest : public testing::Test {
 protected:
  // Finds this version of the one model.
  std::shared_ptr<Scheduler> Find(const std::string& checksum) {
    const auto versions = served_->Versions(served_->Find({})->scheduler, checksum);
    return versions.empty() ? nullptr : versions.front();
  }

  Metrics metrics_;
  std::unique_ptr<ServedModels> served_ = *ServedModels::Create({Version("1")}, /*replicas=*/1, &metrics_);
};

TEST_F(ServedModelsTest, AReplacedVersionStaysForAWhile) {
  ASSERT_TRUE(served_->Replace(Version("2")).ok());
  EXPECT_EQ(Find("2"), served_->Find({})->scheduler);
  ASSERT_NE(Find("1"), nullptr);
  EXPECT_EQ(Find("1")->model()->info.checksum, "1");
  EXPECT_EQ(Find("3"), nullptr);
  served_->DropUnused(SteadyNow() + ServedModels::kKeepUnused / 2);
  EXPECT_NE(Find("1"), nullptr);
  served_->DropUnused(SteadyNow() + 2 * ServedModels::kKeepUnused);
  EXPECT_EQ(Find("1"), nullptr);
  EXPECT_NE(Find("2"), nullptr);
}

TEST_F(ServedModelsTest, AVersionThatComesBackIsTheOneThatWasThere) {
  CollectingSink sink;
  const std::shared_ptr<Scheduler> first = Find("1");
  auto session = first->Open({}, &sink);
  ASSERT_TRUE(session.ok());
  EXPECT_TRUE(served_->Serves(*first->model()));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(served_->Replace(Version("2")).ok());
    EXPECT_FALSE(served_->Serves(*first->model()));
    const auto loaded = served_->Loaded(first->model()->info.name);
    ASSERT_EQ(loaded.size(), 2u) << "the one with a session, and the one that new ones get";
    ASSERT_TRUE(served_->Replace(loaded.back()).ok());
    EXPECT_EQ(served_->Find({})->scheduler, first);
  }
  (*session)->EndSource();
  sink.Wait();
}

TEST_F(ServedModelsTest, AVersionHasAGlossary) {
  const std::shared_ptr<Scheduler> first = Find("1");
  const std::shared_ptr<const Model> model = first->model();
  const std::vector<GlossaryTerm> tea = {{"tea", "ear"}};
  ASSERT_TRUE(served_->Replace(model, tea).ok());
  EXPECT_FALSE(served_->Serves(*model));
  EXPECT_TRUE(served_->Serves(*model, tea));
  const std::shared_ptr<Scheduler> second = Find("1");
  EXPECT_NE(second, first);
  EXPECT_EQ(second->glossary()->terms()[0].target, "ear");
  const auto versions = served_->Versions(second, "1");
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[1], first);
  EXPECT_FALSE(served_->Replace(model, {{"tea", "T\xC3\xBC"}}).ok()) << "it cannot write this";
  EXPECT_EQ(Find("1"), second);
  ASSERT_TRUE(served_->Replace(model).ok());
  EXPECT_EQ(Find("1"), first) << "it comes back";
}

TEST_F(ServedModelsTest, ItStaysAsLongAsItHasSessionsAndAWhileLonger) {
  CollectingSink sink;
  std::shared_ptr<Scheduler> old = Find("1");
  auto session = old->Open({}, &sink);
  ASSERT_TRUE(session.ok());
  ASSERT_TRUE(served_->Replace(Version("2")).ok());
  ASSERT_TRUE(served_->Replace(Version("3")).ok());  // Nobody had used 2.
  ASSERT_TRUE(served_->Replace(Version("4")).ok());
  EXPECT_EQ(Find("2"), nullptr);
  EXPECT_NE(Find("3"), nullptr);
  const SteadyTime later = SteadyNow() + 100 * ServedModels::kKeepUnused;
  served_->DropUnused(later);
  EXPECT_EQ(Find("3"), nullptr);
  EXPECT_EQ(Find("1"), old);
  (*session)->EndSource();
  sink.Wait();
  while (old->open_sessions() > 0) absl::SleepFor(absl::Milliseconds(1));
  old.reset();
  served_->DropUnused(later + ServedModels::kKeepUnused / 2);
  EXPECT_NE(Find("1"), nullptr);
  served_->DropUnused(later + 2 * ServedModels::kKeepUnused);
  EXPECT_EQ(Find("1"), nullptr);
}

}  // namespace
}  // namespace leapstream
