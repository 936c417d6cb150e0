#ifndef LEAPSTREAM_SERVER_ACCOUNTS_H_
#define LEAPSTREAM_SERVER_ACCOUNTS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "model/api/vocabulary.h"
#include "server/metrics.h"
#include "server/options.h"
#include "streaming/session.h"

namespace leapstream {

// An amount of source, or of generated text.
struct Amount {
  int64_t characters = 0;  // Code points of Unicode.
  absl::Duration audio;
};

int64_t CharactersIn(absl::string_view text);
// Pieces have their own characters, and token ids those of their symbols in `vocabulary`.
Amount AmountOf(const SourceInput& source, int sample_rate, const Vocabulary& vocabulary);

// The use that one principal makes of its quotas. A quota holds for a window of time: the window
// begins with the first use after the end of the one before, and then all of the quota is there.
// Audio counts as budget::kCharactersPerAudioSecond. Thread-safe.
class Account {
 public:
  // `metrics` must outlive the account.
  Account(std::string principal, const CharacterQuotas& quotas, const UsageMetrics* metrics);

  // OK if something is left of each quota. RESOURCE_EXHAUSTED, QUOTA_EXCEEDED: nothing is, before
  // the retry delay is over.
  absl::Status Available(SteadyTime now);
  // Takes `amount` of each quota. RESOURCE_EXHAUSTED, QUOTA_EXCEEDED: less is left of one, and
  // nothing was taken. The status has a retry delay unless the amount is more than the whole quota.
  absl::Status Take(const Amount& amount, SteadyTime now);
  // Takes `amount` whatever is left, then returns what Available() returns: of text that is there.
  absl::Status TakeAll(const Amount& amount, SteadyTime now);
  // Whether a window is open, so that the account must be kept.
  bool in_window(SteadyTime now) const;
  const UsageMetrics& metrics() const { return *metrics_; }

 private:
  struct Quota {
    const char* setting;
    const char* window;  // Its name, such as "minute".
    absl::Duration length;
    int64_t limit;  // Millionths of a character, as `used`; 0: there is no limit.
    int64_t used = 0;
    SteadyTime end = SteadyTime::InfinitePast();
  };
  // The error for a use of `cost`, for which `quota` has too little left.
  absl::Status Exceeded(const Quota& quota, const Amount& amount, int64_t cost,
                        SteadyTime now) const;
  void BeginWindows(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Use(int64_t cost, SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status IsLeft(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string principal_;
  const UsageMetrics* const metrics_;
  mutable Mutex mutex_;
  std::array<Quota, 2> quotas_ ABSL_GUARDED_BY(mutex_);
};

// The part of a session's source that its principal's account has counted. A stream that resumes
// the session sends some of it again, and that does not count again: the chunks that were counted,
// as long as no more comes again than was counted. Thread-safe.
class CountedSource {
 public:
  // Takes the amount of a chunk, which comes after `chunks` others, from the account. False: it was
  // counted before. Errors: those of Account::Take().
  absl::StatusOr<bool> Take(int64_t chunks, const Amount& amount, SteadyTime now, Account* account);

 private:
  Mutex mutex_;
  int64_t chunks_ ABSL_GUARDED_BY(mutex_) = 0;  // The number of chunks that were counted.
  int64_t again_ ABSL_GUARDED_BY(mutex_) = 0;   // The cost of what may come again.
};

// Counts what one call uses, for its principal. Thread-safe.
class CallUsage {
 public:
  explicit CallUsage(std::shared_ptr<Account> account) : account_(std::move(account)) {}

  void Began(Method method);
  // These two take an amount of the quotas, and count it. Errors: those of Account::Take().
  absl::Status TakeSource(const Amount& amount);
  absl::Status TakeChunk(int64_t chunks, const Amount& amount, CountedSource* counted);
  // Takes text that a model has written. Errors: those of Account::TakeAll().
  absl::Status TakeGenerated(absl::string_view text);
  void WroteTargetToken();
  void ReadPrompt(int tokens);
  void GeneratedToken();

  // The sums of this call. Of source it is what was counted for this call.
  int64_t source_characters() const { return characters_.load(std::memory_order_relaxed); }
  absl::Duration source_audio() const {
    return absl::Nanoseconds(audio_ns_.load(std::memory_order_relaxed));
  }
  int64_t target_tokens() const { return target_tokens_.load(std::memory_order_relaxed); }

 private:
  void CountSource(const Amount& amount);

  const std::shared_ptr<Account> account_;
  std::atomic<int64_t> characters_{0}, audio_ns_{0}, target_tokens_{0};
};

// The accounts of all principals, by name. They are in the memory of this process: a restart
// forgets them. Thread-safe.
class Accounts {
 public:
  // `metrics` must outlive the accounts.
  Accounts(const CharacterQuotas& quotas, Metrics* metrics);

  // The account of a principal. That of an empty name, which is anybody, has no quotas. If there
  // are budget::kAccounts others with open windows or calls, the rest share one.
  std::shared_ptr<Account> Of(const std::string& principal);

  // The source of the session of this id that is counted. The newest budget::kCountedStreams are
  // kept for a resume.
  std::shared_ptr<CountedSource> SourceOf(const std::string& session_id);
  void Forget(const std::string& session_id);  // The session cannot be resumed.

 private:
  struct Stream {
    std::shared_ptr<CountedSource> source;
    std::list<std::string>::iterator place;  // In by_age_.
  };

  const CharacterQuotas quotas_;
  Metrics* const metrics_;
  const std::shared_ptr<Account> anybody_, others_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Account>> accounts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Stream> streams_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> by_age_ ABSL_GUARDED_BY(mutex_);  // The keys of streams_, oldest first.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ACCOUNTS_H_
