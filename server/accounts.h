#ifndef LEAPSTREAM_SERVER_ACCOUNTS_H_
#define LEAPSTREAM_SERVER_ACCOUNTS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
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
#include "base/budget.h"
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

// A chunk of a session's source, as its account knows it.
struct CountedChunk {
  int64_t before = 0;  // The number of chunks of the session that come before it.
  uint64_t fingerprint = 0;
};

// The part of a session's source that its principal's account has counted. Streams that resume the
// session send some of it again, and that does not count again: a chunk that was counted at its
// place, with the same content. Thread-safe.
class CountedSource {
 public:
  // The newest chunks of a stream are known, so many of it, and so many of all streams. A stream's
  // share is known even if other streams have more than theirs.
  static constexpr size_t kMostChunks = 4096;
  static constexpr size_t kMostChunksOfAll = 1 << 20;
  static constexpr size_t kShareOfChunks = kMostChunksOfAll / budget::kCountedStreams;

  // `all`: the number of chunks that all of these know together.
  explicit CountedSource(std::shared_ptr<std::atomic<size_t>> all) : all_(std::move(all)) {}
  ~CountedSource() { all_->fetch_sub(chunks_.size(), std::memory_order_relaxed); }
  CountedSource(const CountedSource&) = delete;
  CountedSource& operator=(const CountedSource&) = delete;

  // Takes the amount of a chunk from the account. False: it was counted before. Errors: those of
  // Account::Take().
  absl::StatusOr<bool> Take(const CountedChunk& chunk, const Amount& amount, SteadyTime now,
                            Account* account);

 private:
  void Remember(const CountedChunk& chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<std::atomic<size_t>> all_;
  Mutex mutex_;
  std::deque<uint64_t> chunks_ ABSL_GUARDED_BY(mutex_);  // Fingerprints, one after the other.
  int64_t first_ ABSL_GUARDED_BY(mutex_) = 0;  // The first one's number of chunks before it.
};

// Counts what one call uses, for its principal. Thread-safe.
class CallUsage {
 public:
  explicit CallUsage(std::shared_ptr<Account> account) : account_(std::move(account)) {}

  void Began(Method method);
  // See Account::Available().
  absl::Status Available() const;
  // These two take an amount of the quotas, and count it. Errors: those of Account::Take().
  absl::Status TakeSource(const Amount& amount);
  absl::Status TakeChunk(const CountedChunk& chunk, const Amount& amount, CountedSource* counted);
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

  // The source of the session of this id that is counted. The budget::kCountedStreams that were
  // asked for last are kept for a resume, and all that are in use.
  std::shared_ptr<CountedSource> SourceOf(const std::string& session_id);
  void Forget(const std::string& session_id);  // The session cannot be resumed.

 private:
  struct Stream {
    std::string session_id;
    std::shared_ptr<CountedSource> source;
  };
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CharacterQuotas quotas_;
  Metrics* const metrics_;
  const std::shared_ptr<Account> anybody_, others_;
  const std::shared_ptr<std::atomic<size_t>> counted_chunks_ =
      std::make_shared<std::atomic<size_t>>(0);
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Account>> accounts_ ABSL_GUARDED_BY(mutex_);
  std::list<Stream> streams_ ABSL_GUARDED_BY(mutex_);  // The one that was used last is the last.
  std::map<std::string, std::list<Stream>::iterator> by_session_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ACCOUNTS_H_
