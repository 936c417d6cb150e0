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

// Where a session waits for its next turn: one with a backlog translates text that is there
// already, and nobody is speaking it.
enum class Queue { kLive, kBacklog };

struct SegmentEnd {};
struct SourceEnd {};
struct SourceChunk {
  SourceInput source;
  SourcePosition at;
};
using Input = std::variant<SourceChunk, SegmentEnd, SourceEnd>;

// All that other threads tell a session: its inputs, in order, and what is to become of it. It also
// knows whether the session is queued for a turn, and wakes the step loop when it has to be. Knows
// nothing of segments beyond what Pop() is told. Thread-safe; no call blocks.
class Inbox {
 public:
  // `wake` queues the session for a turn. It is called with the inbox's lock held, never after
  // Close(), and so must not call the inbox. `max_bytes`: see HasRoom(). `has_backlog`: the session
  // begins with one.
  Inbox(int64_t max_bytes, bool has_backlog, std::function<void(Queue)> wake);

  // --- Any thread; see Session. Nothing has an effect after Close(). ---

  void Push(Input input);
  void Cancel(absl::Status why);
  void EndAfterSegment(absl::Status why);
  // Less than max_bytes and budget::kQueuedInputs are queued. Else Popped::room tells of room.
  bool HasRoom();
  void Hold();
  void Release();

  // --- Step thread. ---

  struct Turn {
    SteadyTime able_since;  // When the session was queued.
    std::optional<absl::Status> cancelled;
  };
  // A turn of the session begins. What arrives from now on may be for the next one.
  Turn BeginTurn();

  bool held() const;
  // Why the session ends after its segment; nothing: it does not.
  std::optional<absl::Status> ending() const;

  // The session's open segment, as far as it decides about the next input.
  enum class Segment {
    kNone,        // None is open.
    kOpen,        // One is being translated. The session does not end within it.
    kTranslated,  // One is complete but for the end of its source.
  };
  struct Popped {
    enum class Kind {
      kNothing,  // No input has arrived.
      kRefused,  // An input has arrived, but the turn takes no more.
      kInput,
      kEnding,   // The session is to end now, with `ending`.
    };
    Kind kind = Kind::kNothing;
    Input input = SegmentEnd{};
    absl::Status ending;
    bool room = false;  // HasRoom() was false, and half of the room is free again.
  };
  // The next input. The end of the source ends an open segment first: then it gives a SegmentEnd
  // and stays. `may_take`: the turn takes another input.
  Popped Pop(Segment segment, bool may_take);

  struct TurnEnd {  // How the planning of a turn ended.
    int reads = 0;           // READs of this turn.
    bool acts = false;       // The session has something to do in the model.
    bool waits = false;      // The session needs more source to go on.
    bool cut_short = false;  // The turn's work was used up before all was done.
  };
  // A turn of the session is planned. True: it has another one after this. False: it is not queued
  // any more, until something arrives.
  bool EndTurn(const TurnEnd& end);
  Queue queue() const;  // The queue for the session's next turn.

  // The session is over: drops all inputs.
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
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);  // After the open segment.
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // Since BeginTurn().
  bool queued_ ABSL_GUARDED_BY(mutex_) = false;   // For a turn, or in one.
  SteadyTime queued_at_ ABSL_GUARDED_BY(mutex_);
  int reads_without_wait_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_INBOX_H_
