// Once it has seen its largest batch, a step allocates nothing.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/engine/load_model.h"

namespace {
std::atomic<long> allocations{0};

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

class AllocationTest : public ::testing::TestWithParam<const char*> {};

TEST_P(AllocationTest, AStepAllocatesNothingOnceItIsWarm) {
  LoadOptions load;
  load.compute_type = GetParam();
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
  // The first segment warms up; the second passes the position where rows are folded into sums.
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
                         ::testing::Values("float32", "bfloat16", "int8"));

}  // namespace
}  // namespace leapstream
