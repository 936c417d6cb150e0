#include "streaming/segment_draft.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/status.h"
#include "streaming/draft_rules.h"

namespace leapstream {
namespace {

// The most times that a look verifies tokens. A draft often differs from the last one in single
// tokens; if it differs in many, to verify the others is of no use.
constexpr int kMostVerifies = 4;

}  // namespace

SegmentDraft::SegmentDraft(const Policy& policy, const Model& model, TokenId end)
    : policy_(policy), model_(model), end_(end), units_(model) {}

void SegmentDraft::Reset() {
  phase_ = Phase::kNone;
  looked_ = looked_length_ = wrote_at_ = 0;
  rest_.clear();
  rest_agreed_.clear();
  target_.clear();
  given_.clear();
  written_.clear();
  deciding_ = nullptr;
}

absl::Status SegmentDraft::Begin(const SessionState& state, const Look& look) {
  look_ = look;
  before_ = static_cast<int>(target_.size());
  log_probs_.clear();
  agreed_.clear();
  same_ = early_ = due_ = count_ = 0;
  has_early_ = false;
  most_ = std::min(
      MostDraftTokens({look.source_length, look.source_length - wrote_at_, before_}), look.room);
  if (most_ <= 0 && look.committed.empty()) {
    FinishLook();
    return absl::OkStatus();
  }
  if (state_ == nullptr) {
    LEAPSTREAM_ASSIGN_OR_RETURN(state_, state.Clone());
  } else {
    LEAPSTREAM_RETURN_IF_ERROR(state_->CopyFrom(state));
  }
  base_ = state_->target_written();
  verifies_ = 0;
  phase_ = Phase::kDraft;
  MakeStep();
  return absl::OkStatus();
}

bool SegmentDraft::BeginTail(SessionState* state, int room) {
  const size_t known = std::min(rest_.size(), static_cast<size_t>(std::max(room, 0)));
  if (known == 0 || model_.feeds_back_symbols) return false;
  written_.clear();
  base_ = state->target_written();
  phase_ = Phase::kTail;
  Give(state, absl::MakeConstSpan(rest_).first(known), /*forced=*/false, &verified_);
  return true;
}

void SegmentDraft::MakeStep() {
  // A model that feeds symbols back is fed other tokens than it decided, so nothing can be
  // verified.
  const size_t count = drafted().size();
  const size_t end = std::min(rest_.size(), static_cast<size_t>(std::max(most_, 0)));
  // Local agreement needs no token behind the first one that differs.
  const bool again = verifies_ == 0 || !std::holds_alternative<LocalAgreement>(policy_);
  if (model_.feeds_back_symbols || end <= count || verifies_ == kMostVerifies || !again) {
    verified_.tokens.clear();
    deciding_ = state_.get();
    return;
  }
  ++verifies_;
  verified_at_ = state_->target_written();
  Give(state_.get(), absl::MakeConstSpan(rest_).subspan(count, end - count), /*forced=*/false,
       &verified_);
}

void SegmentDraft::Give(SessionState* state, absl::Span<const TokenId> tokens, bool forced,
                        Given* given) {
  given->tokens.clear();
  for (const TokenId id : tokens) given->tokens.push_back(Fed(id));
  given->decisions.resize(tokens.size() + 1);
  given_.push_back({state, given->tokens, forced ? static_cast<int>(tokens.size()) : 0, !forced,
                    absl::MakeSpan(given->decisions)});
}

absl::Status SegmentDraft::Advance(const Decision* decision,
                                   std::unique_ptr<SessionState>* state) {
  written_.clear();
  deciding_ = nullptr;
  given_.clear();
  if (due_ > 0) PutOut(std::exchange(due_, 0));
  switch (phase_) {
    case Phase::kNone:
      break;
    case Phase::kDraft: {
      if (!verified_.tokens.empty() && !VerifiedIsFinite(*state_, verified_at_)) {
        return NotFiniteError();
      }
      const bool goes_on = TakeAll(decision);
      if (!has_early_ && verifies_ == 1 && std::holds_alternative<LocalAgreement>(policy_) &&
          look_.committed.empty()) {
        LEAPSTREAM_RETURN_IF_ERROR(WriteAgreed(goes_on, state));
      }
      if (!goes_on) return FinishDraft(state);
      state_->Commit(Fed(target_.back()));
      MakeStep();
      break;
    }
    case Phase::kCommit:
      FinishLook();
      break;
    case Phase::kTail:
      if (!VerifiedIsFinite(**state, base_)) return NotFiniteError();
      EndTail(**state);
  }
  return absl::OkStatus();
}

bool SegmentDraft::VerifiedIsFinite(const SessionState& state, int base) const {
  const auto agreed = verified_.decisions.begin() + (state.target_written() - base);
  return std::all_of(verified_.decisions.begin(), agreed + 1,
                     [](const Decision& decision) { return decision.finite(); });
}

void SegmentDraft::EndTail(const SessionState& state) {
  const auto agreed = static_cast<size_t>(state.target_written() - base_);
  for (size_t i = 0; i < agreed; ++i) {
    written_.push_back({rest_[i], verified_.decisions[i].best.log_prob});
  }
  tail_decision_ = verified_.decisions[agreed];
  rest_.clear();
  phase_ = Phase::kNone;
}

bool SegmentDraft::TakeAll(const Decision* decision) {
  if (verified_.tokens.empty()) return Take(*decision);
  const int verified = state_->target_written() - verified_at_;
  for (int i = 0; i <= verified; ++i) {
    if (!Take(verified_.decisions[static_cast<size_t>(i)])) return false;
  }
  return true;
}

bool SegmentDraft::Take(const Decision& decision) {
  const TokenId id = decision.best.id;
  const auto count = static_cast<int>(drafted().size());
  next_ = id;
  if (id == end_ || count >= most_ || IsUnsafe(policy_, decision, state_->source_read())) {
    return false;
  }
  const auto place = static_cast<size_t>(count);
  const bool same = same_ == count && place < rest_.size() && rest_[place] == id;
  if (same) ++same_;
  target_.push_back(id);
  log_probs_.push_back(decision.best.log_prob);
  agreed_.push_back(same ? rest_agreed_[place] + 1 : 1);
  // A draft that repeats itself ends before it does, but not before it differs from the last one.
  const int repeated = std::min(RepeatedTokens(target_), count + 1 - same_);
  if (repeated == 0) {
    if (!IsLongEnough()) return true;
    next_ = TargetUnits::kNone;
    return false;
  }
  next_ = target_[target_.size() - repeated];
  target_.resize(target_.size() - repeated);
  log_probs_.resize(log_probs_.size() - repeated);
  agreed_.resize(agreed_.size() - repeated);
  return false;
}

bool SegmentDraft::IsLongEnough() const {
  const auto same = static_cast<size_t>(same_);
  const int most =
      MostNewTokens(policy_, look_.source_length - looked_length_, /*agrees=*/same == rest_.size());
  if (static_cast<int>(drafted().size()) - same_ < most) return false;
  // A unit that is to be written in any case must be whole.
  return !LagsTooMuch(policy_, look_.words_ahead) ||
         units_.First(drafted(), {Around().previous, TargetUnits::kNone, end_}) > 0;
}

absl::Status SegmentDraft::WriteAgreed(bool goes_on, std::unique_ptr<SessionState>* state) {
  has_early_ = true;
  early_ = Whole(std::min(Keeps(policy_, agreed_), look_.room));
  if (early_ == 0) return absl::OkStatus();
  if (!WriteFirst(early_, state) || !goes_on) return absl::OkStatus();
  return state_->CopyFrom(**state);
}

absl::Status SegmentDraft::FinishDraft(std::unique_ptr<SessionState>* state) {
  count_ = CountDue();
  if (count_ > early_) WriteFirst(count_, state);
  if (given_.empty()) {
    FinishLook();
  } else {
    phase_ = Phase::kCommit;
  }
  return absl::OkStatus();
}

int SegmentDraft::CountDue() {
  int count = has_early_ ? early_ : Whole(std::min(Keeps(policy_, agreed_), look_.room));
  if (count == 0 && LagsTooMuch(policy_, look_.words_ahead)) {
    const int first = units_.First(drafted(), Around());
    if (first <= look_.room) count = first;
  }
  if (look_.committed.empty()) return count;
  const auto committed = static_cast<int>(look_.committed.size());
  const int due = look_.due == Look::kAsDrafted ? std::min(count, committed) : look_.due;
  const absl::Span<const TokenId> tokens = look_.committed.first(static_cast<size_t>(due));
  const bool same = drafted().size() >= tokens.size() &&
                    std::equal(tokens.begin(), tokens.end(), drafted().begin());
  if (!same) {
    target_.resize(static_cast<size_t>(before_));
    target_.insert(target_.end(), tokens.begin(), tokens.end());
    log_probs_.assign(tokens.size(), 0);
    agreed_.assign(tokens.size(), 1);
    return due;
  }
  return due < committed ? due : std::max(count, due);
}

bool SegmentDraft::WriteFirst(int count, std::unique_ptr<SessionState>* state) {
  if (state_->target_written() == base_ + count && look_.committed.empty()) {
    std::swap(state_, *state);
    PutOut(count);
    return true;
  }
  (*state)->TakeEncoded(*state_);
  Give(state->get(), drafted().first(static_cast<size_t>(count)), /*forced=*/true, &taken_);
  due_ = count;
  return false;
}

void SegmentDraft::PutOut(int count) {
  for (int i = 0; i < count; ++i) written_.push_back({drafted()[i], log_probs_[i]});
}

void SegmentDraft::FinishLook() {
  const absl::Span<const TokenId> left = drafted().subspan(static_cast<size_t>(count_));
  rest_.assign(left.begin(), left.end());
  rest_agreed_.assign(agreed_.begin() + count_, agreed_.end());
  target_.resize(static_cast<size_t>(before_ + count_));
  if (count_ > 0) wrote_at_ = look_.source_length;
  looked_ = look_.source_read;
  looked_length_ = look_.source_length;
  phase_ = Phase::kNone;
}

TargetUnits::Around SegmentDraft::Around() const {
  return {before_ > 0 ? target_[static_cast<size_t>(before_ - 1)] : TargetUnits::kNone, next_,
          end_};
}

TokenId SegmentDraft::Fed(TokenId id) const {
  if (!model_.feeds_back_symbols) return id;
  return model_.target_vocabulary.Id(model_.target_vocabulary.Symbol(id));
}

}  // namespace leapstream
