// Measures the memory that a session takes: its state and little else, in memory that is there
// already.
#include <sys/resource.h>

#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"

namespace leapstream {
namespace {

long PageFaults() {
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

TEST(StateMemoryTest, ANewSessionFaultsNoPageOfItsReservedState) {
  const auto model = LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"));
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  constexpr int kSessions = 32;
  constexpr int kSteps = 100;  // More than the positions that are kept before rows are folded.
  const TokenId token = 100;
  const auto run = [&](std::vector<std::unique_ptr<SessionState>>* states) {
    std::vector<SessionState*> pointers;
    std::vector<SourceRows> rows;
    for (int i = 0; i < kSessions; ++i) {
      states->push_back(*translator.NewState());
      pointers.push_back(states->back().get());
      rows.push_back({pointers.back(), absl::MakeConstSpan(&token, 1)});
    }
    std::vector<Decision> decisions(kSessions);
    for (int t = 0; t < kSteps; ++t) {
      ASSERT_TRUE(translator.Read(rows).ok());
      ASSERT_TRUE(translator.Decide(pointers, absl::MakeSpan(decisions)).ok());
      for (SessionState* state : pointers) state->Commit(token);
    }
  };
  // These sessions take the scratch memory of a batch, and their states stay.
  std::vector<std::unique_ptr<SessionState>> first, second;
  run(&first);
  ASSERT_TRUE(translator.Reserve(2 * kSessions).ok());
  const long before = PageFaults();
  run(&second);
  const long faults = PageFaults() - before;
  const int64_t pages = kSessions * second.front()->bytes() / 4096;
  std::printf("%ld page faults of %d new sessions, whose states are %ld pages\n", faults, kSessions,
              static_cast<long>(pages));
  // The small objects around the states lie in the allocator's memory, a page or two a session.
  EXPECT_LE(faults, 2 * kSessions);
  EXPECT_GT(pages, 100 * faults);
}

}  // namespace
}  // namespace leapstream
