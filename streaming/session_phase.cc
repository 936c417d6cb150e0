#include "streaming/session_phase.h"

namespace leapstream {

Phase Next(Phase phase, PhaseEvent event) {
  if (phase == Phase::kOver || event == PhaseEvent::kFinish) return Phase::kOver;
  switch (event) {
    case PhaseEvent::kInput:
      return phase == Phase::kIdle ? Phase::kOpen : phase;
    case PhaseEvent::kSourceEnd:
      return phase == Phase::kTranslated ? Phase::kIdle : phase;
    case PhaseEvent::kTranslated:
      return phase == Phase::kOpen ? Phase::kIdle : phase;
    case PhaseEvent::kTranslatedEarly:
      return phase == Phase::kOpen ? Phase::kTranslated : phase;
    case PhaseEvent::kLeavesRest:
      return phase == Phase::kOpen ? Phase::kContinues : phase;
    case PhaseEvent::kNextSegment:
      return phase == Phase::kContinues ? Phase::kOpen : phase;
    case PhaseEvent::kFinish:
      break;
  }
  return phase;
}

}  // namespace leapstream
