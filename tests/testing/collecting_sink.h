#ifndef LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_
#define LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "streaming/session.h"

namespace leapstream {

// Keeps all that a session puts out. Read the fields after Wait().
class CollectingSink : public SessionSink {
 public:
  void OnEvent(SessionEvent event) override {
    if (auto* delta = std::get_if<TargetDelta>(&event)) {
      absl::MutexLock lock(&mutex_);
      text_so_far_ += delta->text;
      tokens.push_back(delta->token);
    } else if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      absl::MutexLock lock(&mutex_);
      segments.push_back(*completed);
      appended.push_back(text_so_far_ + completed->unsent);
      text_so_far_.clear();
    } else {
      summary = std::get<SessionSummary>(event);
    }
  }
  void OnFinished(absl::Status finished) override {
    status = std::move(finished);
    done_.Notify();
  }
  void Wait() { done_.WaitForNotification(); }
  // Blocks until `count` segments are complete or the session is over.
  void WaitForSegments(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count] {
      return segments.size() >= count || done_.HasBeenNotified();
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(60));
  }

  std::vector<TargetToken> tokens;
  std::vector<SegmentCompleted> segments;
  std::vector<std::string> appended;  // Per segment, the concatenation of what was sent.
  SessionSummary summary;
  absl::Status status;

 private:
  absl::Mutex mutex_;
  std::string text_so_far_;
  absl::Notification done_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_
