#ifndef LEAPSTREAM_CLIENT_WEB_WEB_SESSION_H_
#define LEAPSTREAM_CLIENT_WEB_WEB_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/client.h"

namespace leapstream::client {

// A translation that a browser made: one stream, and a record of everything said in it. Any number
// of viewers read the record from its start. Thread-safe.
class WebSession {
 public:
  // Events are JSON objects, as in events_json.h. There are two more kinds:
  //   {"event": "source", "text": …, "ends_segment": …}  what was sent
  //   {"event": "ended", "code": …, "message": …}        the last one; code "OK" after a summary
  // Sessions of audio have {"event": "source", "audio_ms": …}. `stream` was started with `options`.
  WebSession(std::unique_ptr<Stream> stream, const StreamOptions& options);
  ~WebSession();  // Cancels the stream.
  WebSession(const WebSession&) = delete;
  WebSession& operator=(const WebSession&) = delete;

  // Sends text, which may be empty, and then possibly the end of its segment. INVALID_ARGUMENT: it
  // is not UTF-8. RESOURCE_EXHAUSTED: the server has not taken the source from before, or the
  // record is full. FAILED_PRECONDITION: the source was closed.
  absl::Status Push(absl::string_view text, bool ends_segment);
  // Sends samples, in the format of the options, with the same errors. FAILED_PRECONDITION: also if
  // the session is not of audio. INVALID_ARGUMENT: they are not whole samples, or the session's
  // first samples are the header of a file.
  absl::Status PushAudio(absl::string_view samples);
  absl::Status Close();  // Says that the source is complete.
  void Cancel();         // Ends the session, with the event "ended".

  // The events from number `first` (from 0) on. Waits until `deadline` for one; empty if none came.
  std::vector<std::string> EventsFrom(size_t first, SteadyTime deadline);
  bool over(size_t seen) const;  // Whether it has ended with no more than `seen` events.
  SteadyTime ended_at() const;   // InfiniteFuture: not yet.
  SteadyTime last_push() const;

 private:
  void Pump();  // Runs in thread_, and takes the stream's events.
  // OK if more source may be pushed; `event` is then recorded.
  absl::Status Take(std::string event);
  void Record(std::string event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<Stream> stream_;
  const StreamOptions options_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // Bytes of events_.
  SteadyTime ended_at_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  SteadyTime last_push_ ABSL_GUARDED_BY(mutex_);
  Mutex push_mutex_;  // Source goes to the stream in the order of its events. Taken first.
  // Whether the samples that were taken are known to begin no file, and them until they are.
  bool audio_is_raw_ ABSL_GUARDED_BY(push_mutex_) = false;
  std::string audio_beginning_ ABSL_GUARDED_BY(push_mutex_);
  std::thread thread_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_WEB_SESSION_H_
