#ifndef LEAPSTREAM_CLIENT_GATEWAY_CAPTIONS_H_
#define LEAPSTREAM_CLIENT_GATEWAY_CAPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

namespace leapstream::gateway {

// A viewer of captions.
class CaptionViewer {
 public:
  virtual ~CaptionViewer() = default;
  virtual void OnCaptions() = 0;  // There are more, or they are over for good.
};

class CaptionStore;

// The words that a session heard and said, for its viewers. An event is a line of JSON, and events
// have numbers from 0. For the thread of the gateway.
class Captions {
 public:
  explicit Captions(CaptionStore* store) : store_(store) {}

  // Leaves out an event of more than 64 KiB. Forgets the oldest events if there
  // are too many, of sessions that are over first.
  void Append(std::string event);
  // The event of this number, or of the first one that is still there; null: there is none yet.
  // Sets `number` to that of the event.
  const std::string* At(uint64_t* number) const;
  uint64_t end() const { return first_ + events_.size(); }
  bool over() const { return over_; }

  void AddViewer(CaptionViewer* viewer) { viewers_.insert(viewer); }
  void RemoveViewer(CaptionViewer* viewer) { viewers_.erase(viewer); }

  // A new session begins, of which nothing was heard and said.
  void BeginSession();
  // The session goes on, with so many tokens of its open segment. Its client may not have got all
  // that was said here.
  void ResumeSession(int64_t tokens);
  // Takes from a target what was said before. False: nothing is left.
  bool TakeNew(v1::TargetDelta* target);
  // The segment is complete. False: that was said before.
  bool Complete(int64_t segment);
  // Whether source at this place was not heard before: a session that is resumed sends some of it
  // again. The place is the number of the chunk, and how many ends of segments came since.
  bool IsNew(int64_t sequence, int64_t ends);
  int64_t open_segment() const { return segment_; }

 private:
  friend class CaptionStore;
  void Notify();

  CaptionStore* const store_;
  std::deque<std::string> events_;
  uint64_t first_ = 0;  // The number of events_.front().
  size_t bytes_ = 0;
  bool over_ = false;
  int writers_ = 0;
  bool began_ = false;  // A server took one of the sessions that wrote here.
  SteadyTime ended_;  // When the last writer left.
  std::pair<int64_t, int64_t> heard_{0, 0};
  int64_t segment_ = 1;                 // The open segment.
  std::vector<size_t> bytes_at_ = {0};  // The bytes of its text after so many tokens.
  size_t said_bytes_ = 0;
  // The place in the target that the present call has come to.
  int64_t call_segment_ = 1;  // 0: that of the next target, after a resume.
  size_t call_tokens_ = 0, call_bytes_ = 0;
  std::set<CaptionViewer*> viewers_;
};

// The captions of all sessions. Whoever has the key of some writes, and whoever has their id, which
// follows from the key and does not tell it, reads. For the thread of the gateway.
class CaptionStore {
 public:
  // The captions of this key, which are written until Close(). If there are too many, the oldest
  // that nobody writes are forgotten. INVALID_ARGUMENT: the key is too short or too long.
  // RESOURCE_EXHAUSTED: too many are being written.
  absl::StatusOr<std::shared_ptr<Captions>> Open(const std::string& key, std::string* id);
  // `began`: a server took the session. Captions of none that began are not kept.
  void Close(const std::shared_ptr<Captions>& captions, bool began);
  // Null: there are none of this id.
  std::shared_ptr<Captions> Find(const std::string& id) const;

 private:
  friend class Captions;
  using All = std::map<std::string, std::shared_ptr<Captions>>;
  void ForgetOld();
  bool ForgetOldest();  // Of those that nobody writes. False: there is none.
  All::iterator Forget(All::iterator captions);

  All all_;
  size_t bytes_ = 0;
};

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_CAPTIONS_H_
