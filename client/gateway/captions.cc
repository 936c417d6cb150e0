#include "client/gateway/captions.h"

#include <openssl/sha.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/budget.h"

namespace leapstream::gateway {
namespace {

constexpr size_t kLeastKey = 16, kMostKey = 128;
constexpr size_t kMostEventBytes = 64 << 10;

std::string IdOf(const std::string& key) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), 16));
}

}  // namespace

void Captions::Append(std::string event) {
  if (event.size() > kMostEventBytes) return;
  bytes_ += event.size();
  store_->bytes_ += event.size();
  events_.push_back(std::move(event));
  while (store_->bytes_ > budget::kAllCaptionBytes && store_->ForgetOldest()) {
  }
  while (events_.size() > 1 &&
         (bytes_ > budget::kCaptionBytes || store_->bytes_ > budget::kAllCaptionBytes)) {
    bytes_ -= events_.front().size();
    store_->bytes_ -= events_.front().size();
    events_.pop_front();
    ++first_;
  }
  Notify();
}

void Captions::Notify() {
  for (CaptionViewer* viewer : std::set<CaptionViewer*>(viewers_)) {
    if (viewers_.count(viewer) > 0) viewer->OnCaptions();
  }
}

const std::string* Captions::At(uint64_t* number) const {
  if (*number < first_) *number = first_;
  return *number < end() ? &events_[static_cast<size_t>(*number - first_)] : nullptr;
}

void Captions::BeginSession() {
  heard_ = {0, 0};
  segment_ = call_segment_ = 1;
  bytes_at_ = {0};
  said_bytes_ = call_tokens_ = call_bytes_ = 0;
}

void Captions::ResumeSession(int64_t tokens) {
  call_segment_ = 0;
  call_tokens_ = static_cast<size_t>(tokens);
}

bool Captions::TakeNew(v1::TargetDelta* target) {
  if (target->segment() != call_segment_) {
    if (call_segment_ != 0) call_tokens_ = 0;
    call_segment_ = target->segment();
    const bool is_open = call_segment_ == segment_ && call_tokens_ < bytes_at_.size();
    call_bytes_ = is_open ? bytes_at_[call_tokens_] : 0;
  }
  if (target->segment() < segment_) return false;
  const size_t bytes = target->text().size();
  const size_t said = said_bytes_ - std::min(said_bytes_, call_bytes_);
  const auto tokens = static_cast<size_t>(target->tokens_size());
  const size_t said_tokens = bytes_at_.size() - 1 - std::min(bytes_at_.size() - 1, call_tokens_);
  call_bytes_ += bytes;
  call_tokens_ += tokens;
  said_bytes_ = std::max(said_bytes_, call_bytes_);
  while (bytes_at_.size() <= call_tokens_) bytes_at_.push_back(call_bytes_);
  target->mutable_text()->erase(0, std::min(bytes, said));
  target->mutable_tokens()->DeleteSubrange(0, static_cast<int>(std::min(tokens, said_tokens)));
  return !target->text().empty() || target->tokens_size() > 0;
}

bool Captions::Complete(int64_t segment) {
  call_segment_ = segment + 1;
  call_tokens_ = call_bytes_ = 0;
  if (segment < segment_) return false;
  segment_ = segment + 1;
  bytes_at_ = {0};
  said_bytes_ = 0;
  return true;
}

bool Captions::IsNew(int64_t sequence, int64_t ends) {
  const std::pair<int64_t, int64_t> place(sequence, ends);
  if (place <= heard_) return false;
  heard_ = place;
  return true;
}

absl::StatusOr<std::shared_ptr<Captions>> CaptionStore::Open(const std::string& key,
                                                             std::string* id) {
  if (key.size() < kLeastKey || key.size() > kMostKey) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key of captions must have ", kLeastKey, " to ", kMostKey,
                     " characters that nobody can guess, got ", key.size()));
  }
  ForgetOld();
  *id = IdOf(key);
  const auto found = all_.find(*id);
  if (found != all_.end()) {
    ++found->second->writers_;
    return found->second;
  }
  while (all_.size() >= budget::kCaptionedSessions && ForgetOldest()) {
  }
  if (all_.size() >= budget::kCaptionedSessions) {
    return absl::ResourceExhaustedError("too many sessions have captions; try again later");
  }
  auto captions = std::make_shared<Captions>(this);
  ++captions->writers_;
  all_.emplace(*id, captions);
  return captions;
}

void CaptionStore::Close(const std::shared_ptr<Captions>& captions, bool began) {
  captions->began_ = captions->began_ || began;
  if (--captions->writers_ > 0) return;
  captions->ended_ = SteadyNow();
  if (captions->end() > 0 && captions->began_) return;
  // Nobody can miss them.
  for (auto it = all_.begin(); it != all_.end(); ++it) {
    if (it->second != captions) continue;
    Forget(it);
    return;
  }
}

std::shared_ptr<Captions> CaptionStore::Find(const std::string& id) const {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : found->second;
}

void CaptionStore::ForgetOld() {
  const SteadyTime now = SteadyNow();
  for (auto it = all_.begin(); it != all_.end();) {
    const Captions& captions = *it->second;
    const bool kept = captions.writers_ > 0 || captions.ended_ + budget::kCaptionsKept > now;
    it = kept ? std::next(it) : Forget(it);
  }
}

bool CaptionStore::ForgetOldest() {
  auto oldest = all_.end();
  for (auto it = all_.begin(); it != all_.end(); ++it) {
    if (it->second->writers_ > 0) continue;
    if (oldest == all_.end() || it->second->ended_ < oldest->second->ended_) oldest = it;
  }
  if (oldest == all_.end()) return false;
  Forget(oldest);
  return true;
}

CaptionStore::All::iterator CaptionStore::Forget(All::iterator found) {
  const std::shared_ptr<Captions> captions = found->second;
  const All::iterator next = all_.erase(found);
  bytes_ -= captions->bytes_;
  captions->bytes_ = 0;
  captions->first_ = captions->end();
  captions->events_.clear();
  captions->over_ = true;
  captions->Notify();
  return next;
}

}  // namespace leapstream::gateway
