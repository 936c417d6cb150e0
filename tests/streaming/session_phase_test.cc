#include "streaming/session_phase.h"

#include <vector>

#include <gtest/gtest.h>

namespace leapstream {
namespace {

constexpr Phase kIdle = Phase::kIdle, kOpen = Phase::kOpen, kTranslated = Phase::kTranslated,
                kContinues = Phase::kContinues, kOver = Phase::kOver;

TEST(SessionPhaseTest, TheWholeTable) {
  const std::vector<Phase> phases = {kIdle, kOpen, kTranslated, kContinues, kOver};
  const struct {
    PhaseEvent event;
    std::vector<Phase> after;  // The phase after each phase, in the order above.
  } rows[] = {
      {PhaseEvent::kInput, {kOpen, kOpen, kTranslated, kContinues, kOver}},
      {PhaseEvent::kSourceEnd, {kIdle, kOpen, kIdle, kContinues, kOver}},
      {PhaseEvent::kTranslated, {kIdle, kIdle, kTranslated, kContinues, kOver}},
      {PhaseEvent::kTranslatedEarly, {kIdle, kTranslated, kTranslated, kContinues, kOver}},
      {PhaseEvent::kLeavesRest, {kIdle, kContinues, kTranslated, kContinues, kOver}},
      {PhaseEvent::kNextSegment, {kIdle, kOpen, kTranslated, kOpen, kOver}},
      {PhaseEvent::kFinish, {kOver, kOver, kOver, kOver, kOver}},
  };
  for (const auto& [event, after] : rows) {
    for (size_t i = 0; i < phases.size(); ++i) {
      EXPECT_EQ(Next(phases[i], event), after[i])
          << "phase " << i << ", event " << static_cast<int>(event);
    }
  }
}

}  // namespace
}  // namespace leapstream
