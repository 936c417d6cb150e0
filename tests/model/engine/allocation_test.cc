// A step allocates nothing once the model has seen its largest batch, and neither does the
// scheduler's turn around the step.
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"
#include "streaming/scheduler.h"
#include "streaming/segment_search.h"
#include "tests/testing/collecting_sink.h"

namespace {
thread_local long allocations = 0;

void* Count(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* memory = alignment > alignof(std::max_align_t)
                     ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                     : std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(std::size_t size) { return Count(size, 1); }
void* operator new[](std::size_t size) { return Count(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Count(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return Count(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }

namespace leapstream {
namespace {

using Types = std::pair<const char*, const char*>;  // Of products, of states.
class AllocationTest : public ::testing::TestWithParam<Types> {};

TEST_P(AllocationTest, AStepAllocatesNothingOnceItIsWarm) {
  LoadOptions load;
  load.compute_type = GetParam().first;
  load.state_type = GetParam().second;
  const auto model =
      LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"), load);
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  constexpr int kSessions = 5;
  std::vector<std::unique_ptr<SessionState>> states;
  std::vector<SessionState*> pointers;
  std::vector<SourceRows> rows;
  std::vector<Decision> decisions(kSessions);
  const TokenId token = 100;
  for (int i = 0; i < kSessions; ++i) {
    states.push_back(*translator.NewState());
    pointers.push_back(states.back().get());
    rows.push_back({pointers.back(), absl::MakeConstSpan(&token, 1)});
  }
  // The first segment warms up; the second passes the position at which rows are folded into sums.
  for (int segment = 0; segment < 2; ++segment) {
    for (SessionState* state : pointers) state->Reset();
    const long before = allocations;
    for (int t = 0; t < 100; ++t) {
      ASSERT_TRUE(translator.Read(rows).ok());
      ASSERT_TRUE(translator.Decide(pointers, absl::MakeSpan(decisions)).ok());
      ASSERT_TRUE(translator.Decide(pointers, absl::MakeSpan(decisions)).ok());  // Once undone.
      for (SessionState* state : pointers) state->Commit(token);
    }
    if (segment > 0) {
      EXPECT_EQ(allocations - before, 0);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(ComputeTypes, AllocationTest,
                         ::testing::Values(Types{"float32", "float32"},
                                           Types{"bfloat16", "float32"},
                                           Types{"int8", "float16"}));

// Rows die and are copied at every step, but memory goes from one to the other.
TEST(SearchAllocationTest, AStepAllocatesNothingOnceItIsWarm) {
  const auto model = LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"), {});
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  const std::vector<TokenId> source = {100, 200, 300, 400, 500, 600, 700, kEndOfSentence};
  auto state = *translator.NewState();
  ASSERT_TRUE(translator.Read({SourceRows{state.get(), source}}).ok());
  BeamOptions options;
  options.min_length = 200;  // No hypothesis ends: its result would allocate.
  BeamTask task;
  task.source_length = static_cast<int>(source.size());
  task.vocabulary_size = (*model)->target_vocabulary.size();
  auto search = *SegmentSearch::Begin(*state, options, task);
  const auto take = [&](size_t row, const TokenScores& scores) {
    return search->Take(row, scores);
  };
  constexpr int kWarm = 100, kSteps = 180;
  long before = 0;
  for (int step = 0; step < kSteps; ++step) {
    if (step == kWarm) before = allocations;
    ASSERT_TRUE(translator.Score(search->rows(), take).ok());
    ASSERT_TRUE(search->Advance().ok());
  }
  EXPECT_EQ(allocations - before, 0);
}

// A model for which </s> is always the best next token. With EarlyEnd::kReadOn a session then reads
// on and puts nothing out: output would allocate.
class NeverSure final : public Translator {
 public:
  explicit NeverSure(std::unique_ptr<const Translator> translator)
      : translator_(std::move(translator)) {}
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    return translator_->NewState();
  }
  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    return translator_->Read(rows, between_layers);
  }
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    ++depth;
    on_decide(states.size());
    absl::Status status = translator_->Decide(states, result, between_layers);
    for (Decision& decision : result) decision.best.id = kEndOfSentence;
    --depth;
    return status;
  }

  mutable int depth = 0;
  std::function<void(size_t batch)> on_decide;  // Called on the step thread.

 private:
  const std::unique_ptr<const Translator> translator_;
};

TEST(TurnAllocationTest, ATurnAllocatesNothingOnceItIsWarm) {
  const auto loaded = LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"), {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto model = std::const_pointer_cast<Model>(*loaded);
  auto owned = std::make_unique<NeverSure>(std::move(model->translator));
  NeverSure& translator = *owned;
  model->translator = std::move(owned);

  // kWarm is past the position at which rows are folded into sums. After so many turns, a session's
  // own queue of tokens has room for as many as a live session gets.
  constexpr int kWarm = 60, kTurns = 110;
  std::vector<CollectingSink> sinks(6);
  std::shared_ptr<Session> live;
  int turns = 0, turns_between = 0;
  long before = 0, after = 0;
  std::promise<void> done;
  translator.on_decide = [&](size_t batch) {
    if (translator.depth > 1) ++turns_between;
    if (batch == 1 || turns == kTurns) return;
    ++turns;
    if (turns == kWarm) before = allocations;
    if (turns == kTurns) after = allocations;
    if (turns == kTurns) done.set_value();
    const long without = allocations;
    live->Push(std::vector<TokenId>{100});
    allocations = without;
  };
  Scheduler scheduler(model);
  std::vector<std::shared_ptr<Session>> sessions;
  for (size_t i = 0; i < sinks.size(); ++i) {
    SessionOptions options;
    options.policy = WaitK{1 + 3 * static_cast<int>(i)};
    if (i == 4) options.policy = Offline();
    auto session = scheduler.Open(options, &sinks[i]);
    ASSERT_TRUE(session.ok()) << session.status();
    sessions.push_back(*session);
  }
  live = sessions[0];
  for (size_t i = 1; i < sessions.size(); ++i) {
    sessions[i]->Push(std::vector<TokenId>(Scheduler::kMaxRowsPerSession * 2 * kTurns, 100));
  }
  done.get_future().wait();
  EXPECT_EQ(after - before, 0);
  EXPECT_GT(turns_between, kWarm);
  for (const auto& session : sessions) session->Cancel(absl::CancelledError("enough"));
  for (CollectingSink& sink : sinks) sink.Wait();
}

}  // namespace
}  // namespace leapstream
