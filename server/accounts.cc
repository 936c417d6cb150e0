#include "server/accounts.h"

#include <prometheus/counter.h>

#include <algorithm>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr int64_t kMillion = 1000000;
constexpr char kOthers[] = "other";

// In millionths of a character, so that short chunks of audio add up.
int64_t CostOf(const Amount& amount) {
  return amount.characters * kMillion +
         absl::ToInt64Microseconds(amount.audio) * budget::kCharactersPerAudioSecond;
}

int64_t InCharacters(int64_t cost) { return (cost + kMillion - 1) / kMillion; }

// A token is work, even if it is empty.
int64_t CharactersOfToken(absl::string_view symbol) {
  return std::max<int64_t>(CharactersIn(symbol), 1);
}

}  // namespace

int64_t CharactersIn(absl::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Amount AmountOf(const SourceInput& source, int sample_rate, const Vocabulary& vocabulary) {
  Amount amount;
  if (const auto* audio = std::get_if<AudioSamples>(&source)) {
    amount.audio = absl::Seconds(1) * audio->size() / sample_rate;
  } else if (const auto* text = std::get_if<std::string>(&source)) {
    amount.characters = CharactersIn(*text);
  } else if (const auto* pieces = std::get_if<std::vector<std::string>>(&source)) {
    for (const std::string& piece : *pieces) amount.characters += CharactersOfToken(piece);
  } else {
    for (const TokenId id : std::get<std::vector<TokenId>>(source)) {
      const bool known = id >= 0 && id < vocabulary.size();
      amount.characters += known ? CharactersOfToken(vocabulary.Symbol(id)) : 1;
    }
  }
  return amount;
}

// --- Quotas. ---

Account::Account(std::string principal, const CharacterQuotas& quotas, const UsageMetrics* metrics)
    : principal_(std::move(principal)),
      metrics_(metrics),
      quotas_{Quota{"max_characters_per_minute", "minute", absl::Minutes(1),
                    quotas.per_minute * kMillion},
              Quota{"max_characters_per_day", "day", absl::Hours(24), quotas.per_day * kMillion}} {}

void Account::BeginWindows(SteadyTime now) {
  for (Quota& quota : quotas_) {
    if (now >= quota.end) quota.used = 0;
  }
}

absl::Status Account::Available(SteadyTime now) {
  MutexLock lock(&mutex_);
  BeginWindows(now);
  return IsLeft(now);
}

absl::Status Account::IsLeft(SteadyTime now) {
  const Quota* longest = nullptr;
  for (const Quota& quota : quotas_) {
    if (quota.limit == 0 || quota.used < quota.limit) continue;
    if (longest == nullptr || quota.end > longest->end) longest = &quota;
  }
  return longest == nullptr ? absl::OkStatus() : Exceeded(*longest, {}, 0, now);
}

absl::Status Account::Take(const Amount& amount, SteadyTime now) {
  const int64_t cost = CostOf(amount);
  MutexLock lock(&mutex_);
  BeginWindows(now);
  const Quota* longest = nullptr;
  for (const Quota& quota : quotas_) {
    if (quota.limit == 0 || cost <= quota.limit - quota.used) continue;
    if (cost > quota.limit) return Exceeded(quota, amount, cost, now);
    if (longest == nullptr || quota.end > longest->end) longest = &quota;
  }
  if (longest != nullptr) return Exceeded(*longest, amount, cost, now);
  Use(cost, now);
  return absl::OkStatus();
}

absl::Status Account::TakeAll(const Amount& amount, SteadyTime now) {
  MutexLock lock(&mutex_);
  BeginWindows(now);
  Use(CostOf(amount), now);
  return IsLeft(now);
}

void Account::Use(int64_t cost, SteadyTime now) {
  if (cost == 0) return;
  for (Quota& quota : quotas_) {
    if (quota.limit == 0) continue;
    if (quota.used == 0) quota.end = now + quota.length;
    quota.used += cost;
  }
}

bool Account::in_window(SteadyTime now) const {
  MutexLock lock(&mutex_);
  return std::any_of(quotas_.begin(), quotas_.end(),
                     [now](const Quota& quota) { return now < quota.end; });
}

absl::Status Account::Exceeded(const Quota& quota, const Amount& amount, int64_t cost,
                               SteadyTime now) const {
  const std::string may = absl::StrCat("you may use ", quota.limit / kMillion, " characters a ",
                                       quota.window, " (", quota.setting, ")");
  const std::string audio =
      amount.audio > absl::ZeroDuration()
          ? absl::StrCat("; a second of audio counts as ", budget::kCharactersPerAudioSecond)
          : "";
  const bool too_large = cost > quota.limit;
  const absl::Duration wait = quota.end - now;
  std::string message;
  if (too_large) {
    message = absl::StrCat(may, ", and this needs ", InCharacters(cost),
                           " at once; send less at once", audio);
  } else {
    const std::string needed =
        cost == 0 ? "" : absl::StrCat(", and this needs ", InCharacters(cost), " more");
    message = absl::StrCat(may, " and have used ", InCharacters(quota.used), needed, "; go on in ",
                           absl::FormatDuration(absl::Ceil(wait, absl::Seconds(1))), audio);
  }
  absl::Status status =
      WithQuotaViolation(WithReason(absl::ResourceExhaustedError(message), "QUOTA_EXCEEDED"),
                         principal_, absl::StrCat("characters a ", quota.window));
  if (too_large) return status;
  return WithRetryDelay(std::move(status), absl::Ceil(wait, absl::Milliseconds(1)), now);
}

// --- The source of a session. ---

absl::StatusOr<bool> CountedSource::Take(const CountedChunk& chunk, const Amount& amount,
                                         SteadyTime now, Account* account) {
  MutexLock lock(&mutex_);
  const int64_t place = chunk.before - first_;
  const bool known = place >= 0 && place < static_cast<int64_t>(chunks_.size());
  if (known && chunks_[place] == chunk.fingerprint) return false;
  LEAPSTREAM_RETURN_IF_ERROR(account->Take(amount, now));
  Remember(chunk);
  return true;
}

void CountedSource::Remember(const CountedChunk& chunk) {
  const int64_t place = chunk.before - first_;
  const auto size = static_cast<int64_t>(chunks_.size());
  if (size > 0 && place < 0) return;  // It is older than those that are kept.
  if (place < size) {
    chunks_[place] = chunk.fingerprint;
    return;
  }
  if (place > size || size == 0) {  // Another server has counted the chunks between.
    all_->fetch_sub(chunks_.size(), std::memory_order_relaxed);
    chunks_.clear();
    first_ = chunk.before;
  }
  const bool full =
      chunks_.size() >= kMostChunks || (chunks_.size() >= kShareOfChunks &&
                                        all_->load(std::memory_order_relaxed) >= kMostChunksOfAll);
  if (full) {
    chunks_.pop_front();
    ++first_;
  } else {
    all_->fetch_add(1, std::memory_order_relaxed);
  }
  chunks_.push_back(chunk.fingerprint);
}

// --- One call. ---

void CallUsage::Began(Method method) {
  const auto& requests = account_->metrics().requests;
  if (const auto found = requests.find(method); found != requests.end()) {
    found->second->Increment();
  }
}

void CallUsage::CountSource(const Amount& amount) {
  const UsageMetrics& metrics = account_->metrics();
  metrics.source_characters->Increment(static_cast<double>(amount.characters));
  metrics.audio_seconds->Increment(absl::ToDoubleSeconds(amount.audio));
  characters_.fetch_add(amount.characters, std::memory_order_relaxed);
  audio_ns_.fetch_add(absl::ToInt64Nanoseconds(amount.audio), std::memory_order_relaxed);
}

absl::Status CallUsage::Available() const { return account_->Available(SteadyNow()); }

absl::Status CallUsage::TakeSource(const Amount& amount) {
  LEAPSTREAM_RETURN_IF_ERROR(account_->Take(amount, SteadyNow()));
  CountSource(amount);
  return absl::OkStatus();
}

absl::Status CallUsage::TakeChunk(const CountedChunk& chunk, const Amount& amount,
                                  CountedSource* counted) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const bool taken,
                              counted->Take(chunk, amount, SteadyNow(), account_.get()));
  if (taken) CountSource(amount);
  return absl::OkStatus();
}

absl::Status CallUsage::TakeGenerated(absl::string_view text) {
  return account_->TakeAll({CharactersIn(text), absl::ZeroDuration()}, SteadyNow());
}

void CallUsage::WroteTargetToken() {
  account_->metrics().target_tokens->Increment();
  target_tokens_.fetch_add(1, std::memory_order_relaxed);
}

void CallUsage::ReadPrompt(int tokens) { account_->metrics().prompt_tokens->Increment(tokens); }

void CallUsage::GeneratedToken() { account_->metrics().generated_tokens->Increment(); }

// --- All of them. ---

Accounts::Accounts(const CharacterQuotas& quotas, Metrics* metrics)
    : quotas_(quotas),
      metrics_(metrics),
      anybody_(std::make_shared<Account>("", CharacterQuotas(), metrics->ForPrincipal(""))),
      others_(std::make_shared<Account>(kOthers, quotas, metrics->ForPrincipal(kOthers))) {}

std::shared_ptr<Account> Accounts::Of(const std::string& principal) {
  if (principal.empty()) return anybody_;
  MutexLock lock(&mutex_);
  if (const auto found = accounts_.find(principal); found != accounts_.end()) return found->second;
  if (accounts_.size() >= budget::kAccounts) {
    const SteadyTime now = SteadyNow();
    for (auto account = accounts_.begin(); account != accounts_.end();) {
      const bool idle = account->second.use_count() == 1 && !account->second->in_window(now);
      account = idle ? accounts_.erase(account) : std::next(account);
    }
    if (accounts_.size() >= budget::kAccounts) return others_;
  }
  auto account = std::make_shared<Account>(principal, quotas_, metrics_->ForPrincipal(principal));
  accounts_[principal] = account;
  return account;
}

std::shared_ptr<CountedSource> Accounts::SourceOf(const std::string& session_id) {
  MutexLock lock(&mutex_);
  if (const auto found = by_session_.find(session_id); found != by_session_.end()) {
    streams_.splice(streams_.end(), streams_, found->second);
    return found->second->source;
  }
  const auto source = std::make_shared<CountedSource>(counted_chunks_);
  by_session_[session_id] = streams_.insert(streams_.end(), {session_id, source});
  ForgetOldest();
  return source;
}

void Accounts::ForgetOldest() {
  // A stream in use is looked at once, and then it is among the newest.
  for (size_t left = streams_.size(); left > 0 && streams_.size() > budget::kCountedStreams;
       --left) {
    const auto oldest = streams_.begin();
    if (oldest->source.use_count() > 1) {
      streams_.splice(streams_.end(), streams_, oldest);
      continue;
    }
    by_session_.erase(oldest->session_id);
    streams_.erase(oldest);
  }
}

void Accounts::Forget(const std::string& session_id) {
  MutexLock lock(&mutex_);
  const auto found = by_session_.find(session_id);
  if (found == by_session_.end()) return;
  streams_.erase(found->second);
  by_session_.erase(found);
}

}  // namespace leapstream
