#ifndef LEAPSTREAM_CLIENT_RESUME_LOG_H_
#define LEAPSTREAM_CLIENT_RESUME_LOG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "client/source_log.h"
#include "client/types.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

namespace leapstream::client {

// The things that a server must be told to go on with a session where another one lost it: the
// session's settings, the source from its first incomplete segment on, the open segment's
// translation so far, and the resume token for it. Knows nothing of calls, retries and the user. Not thread-safe.
class ResumeLog {
 public:
  explicit ResumeLog(const StreamOptions& options);

  SourceLog& source() { return source_; }
  const SourceLog& source() const { return source_; }

  bool begun() const { return !id_.empty(); }  // A server has started the session.
  // Whether another server could go on: nothing was shown yet, or there is a token for what was.
  bool resumable() const;

  // The settings to begin the next call with. The source begins again with the first incomplete
  // segment.
  v1::SessionConfig BeginCall();
  // The call is over. What only the end of its open segment would have made complete is forgotten.
  void EndCall();

  // The next five are what a call brings.

  // `started` has come, at `now`. Returns the event if this is the first server of the session.
  std::optional<Started> Take(const v1::SessionStarted& started, Started event, SteadyTime now);
  // Returns the event as the user is to see it; nullopt: nothing is to be seen, for now.
  std::optional<Delta> Take(Delta delta);
  void Take(const v1::ResumePoint& point);
  // Returns a delta that was held back until the end of the segment; called before Complete().
  std::optional<Delta> TakeRest();
  // The open segment is complete. INTERNAL: it is another segment, or its text is not that of its
  // deltas; the message is to follow the server's name.
  absl::Status Complete(const SegmentCompleted& completed);

 private:
  bool by_pauses() const;  // Pauses end segments.

  const bool token_details_;   // The user wants to see tokens.
  v1::SessionConfig config_;   // Once begun: as the first server applied it.
  SourceLog source_;
  std::string id_;             // "": not begun.
  SteadyTime started_;         // When the session began.
  absl::Duration call_offset_; // From then to the beginning of this call.
  int64_t deltas_ = 0;

  int64_t segment_ = 1;             // The open segment.
  std::string text_;                // The open segment's text so far.
  v1::ResumeRequest committed_;     // The tokens of text_.
  std::string resume_token_;        // The open segment's; "": none yet.
  std::string next_resume_token_;   // The next segment's; "": none yet.
  int64_t next_consumed_ = 0;       // Sequence beside next_resume_token_.
  // A delta without tokens is text that only the end of the segment makes complete. It is no part
  // of committed_, so it would come again after a break. It is held here until the segment is known
  // to be complete.
  std::optional<Delta> rest_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_RESUME_LOG_H_
