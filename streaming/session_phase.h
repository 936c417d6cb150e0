#ifndef LEAPSTREAM_STREAMING_SESSION_PHASE_H_
#define LEAPSTREAM_STREAMING_SESSION_PHASE_H_

namespace leapstream {

// The phases of a session's segments.
enum class Phase {
  kIdle,        // No segment is open.
  kOpen,        // A segment is open and being translated.
  kTranslated,  // A segment's translation is complete; more of its source may come and is dropped.
  kContinues,   // A segment's translation is complete; the next one begins with its source's rest.
  kOver,        // The session has ended.
};

enum class PhaseEvent {
  kInput,            // Source, or the end of a segment, has been taken from the inbox.
  kSourceEnd,        // The end of a segment has been applied.
  kTranslated,       // The segment is complete, and so is its source.
  kTranslatedEarly,  // The segment is complete before the end of its source has come.
  kLeavesRest,       // The segment is complete and leaves source to the next one.
  kNextSegment,      // The segment that has the source left begins.
  kFinish,           // The session ends.
};

// The phase after `event`. An event that cannot happen in a phase changes nothing. A pure function.
Phase Next(Phase phase, PhaseEvent event);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SESSION_PHASE_H_
