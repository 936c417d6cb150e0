#ifndef LEAPSTREAM_STREAMING_INBOX_H_
#define LEAPSTREAM_STREAMING_INBOX_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "streaming/session.h"

namespace leapstream {

// The queues in which sessions wait for their next turn. A session with a backlog translates text
// that is there already, so that nobody is speaking it.
enum class Queue { kLive, kBacklog };

struct SegmentEnd {
  Session::End end = Session::End::kUsual;
};
struct SourceEnd {};
struct SourceStop {  // See Session::StopSource().
  absl::Status why;
};
struct SourceChunk {
  SourceInput source;
  SourcePosition at;
};
using Input = std::variant<SourceChunk, SegmentEnd, SourceEnd, SourceStop>;

// The messages of other threads to a session: its inputs, in order, and requests to hold or end it.
// An inbox also knows whether the session is queued for a turn, and queues it when it has to be.
// It knows nothing of segments but the arguments of Pop(). Thread-safe; no call blocks.
class Inbox {
 public:
  // `wake` queues the session for a turn. It is called with the inbox's lock held, so it must not
  // call the inbox; it is never called after Close(). `max_bytes`: see HasRoom(). `has_backlog`:
  // the session begins with a backlog.
  Inbox(int64_t max_bytes, bool has_backlog, std::function<void(Queue)> wake);

  // --- Functions for any thread; see Session. They have no effect after Close(). ---

  void Push(Input input);
  void Cancel(absl::Status why);
  void EndAfterSegment(absl::Status why);
  // Whether less than max_bytes bytes and less than budget::kQueuedInputs inputs are queued. If
  // not, Popped::room is true once there is room again.
  bool HasRoom();
  void Hold();
  void Release();

  // --- Functions for the step thread. ---

  struct Turn {
    SteadyTime able_since;  // When the session was queued.
    std::optional<absl::Status> cancelled;
  };
  // Begins a turn of the session. Messages that arrive from now on may be for the next turn.
  Turn BeginTurn();

  bool held() const;
  // The status with which the session ends after its open segment; nullopt: it goes on.
  std::optional<absl::Status> ending() const;

  // The state of the session's segment, as far as it matters for the next input.
  enum class Segment {
    kNone,        // No segment is open.
    kOpen,        // A segment is being translated. The session does not end within it.
    kTranslated,  // A segment is complete but for the end of its source.
  };
  struct Popped {
    enum class Kind {
      kNothing,  // No input has arrived.
      kRefused,  // An input has arrived, but the turn takes no more.
      kInput,
      kEnding,  // The session must end now, with `ending`.
    };
    Kind kind = Kind::kNothing;
    Input input = SegmentEnd{};
    absl::Status ending;
    bool room = false;  // HasRoom() was false, and half of the room is free again.
  };
  // Pops the next input. The end of the source first ends an open segment: then a SegmentEnd is
  // returned, and the end of the source stays queued. `may_take`: the turn takes another input.
  Popped Pop(Segment segment, bool may_take);

  struct TurnEnd {  // How the planning of a turn ended.
    int reads = 0;  // The number of READs of this turn.
    bool acts = false;       // The session has something to do in the model.
    bool waits = false;      // The session needs more source to go on.
    bool cut_short = false;  // The turn's work was used up before all was done.
    // All that was there to be read has been read, so that the session is live again.
    bool caught_up = false;
    bool searches = false;   // The session is in a beam search, which nobody's words wait for.
  };
  // Must be called when a turn of the session is planned. True: the session has another turn after
  // this one. False: it is not queued any more, until a message arrives.
  bool EndTurn(const TurnEnd& end);
  Queue queue() const;  // The queue for the session's next turn.

  // Must be called when the session is over. Drops all inputs.
  void Close();

 private:
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Queue NextQueue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t max_bytes_;
  const std::function<void(Queue)> wake_;
  mutable Mutex mutex_;
  std::deque<Input> inputs_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;         // The memory of inputs_.
  bool room_wanted_ ABSL_GUARDED_BY(mutex_) = false;  // HasRoom() was false since there was room.
  std::optional<absl::Status> cancelled_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);  // See ending().
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // A message has arrived since BeginTurn().
  bool queued_ ABSL_GUARDED_BY(mutex_) = false;   // The session is queued for a turn, or in one.
  SteadyTime queued_at_ ABSL_GUARDED_BY(mutex_);
  int reads_without_wait_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_INBOX_H_
