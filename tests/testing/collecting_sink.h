#ifndef LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_
#define LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "streaming/session.h"

namespace leapstream {

// Keeps all output of a session. Read the fields after Wait().
class CollectingSink : public SessionSink {
 public:
  void OnEvent(SessionEvent event) override {
    MutexLock lock(&mutex_);
    if (auto* delta = std::get_if<TargetDelta>(&event)) {
      text_so_far_ += delta->text;
      tokens.push_back(delta->token);
      texts.push_back(delta->text);
    } else if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      segments.push_back(*completed);
      appended.push_back(text_so_far_ + completed->unsent);
      text_so_far_.clear();
      changed_.NotifyAll();
    } else {
      summary = std::get<SessionSummary>(event);
    }
  }
  void OnFinished(absl::Status finished) override {
    MutexLock lock(&mutex_);
    status = std::move(finished);
    finished_ = true;
    changed_.NotifyAll();
  }
  void Wait() {
    MutexLock lock(&mutex_);
    while (!finished_) changed_.Wait(&mutex_);
  }
  // Blocks until `count` segments are complete or the session is over.
  void WaitForSegments(size_t count) {
    const SteadyTime deadline = SteadyNow() + absl::Seconds(60);
    MutexLock lock(&mutex_);
    while (segments.size() < count && !finished_ && changed_.WaitUntil(&mutex_, deadline)) continue;
  }

  std::vector<TargetToken> tokens;
  std::vector<std::string> texts;  // The texts that came with `tokens`.
  std::vector<SegmentCompleted> segments;
  std::vector<std::string> appended;  // Per segment, the concatenated texts.
  SessionSummary summary;
  absl::Status status;

 private:
  Mutex mutex_;
  CondVar changed_;  // Signalled when a segment is added or finished_ is set.
  std::string text_so_far_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_COLLECTING_SINK_H_
