#include "model/engine/session_state.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "model/engine/attention/state_bytes.h"
#include "model/engine/batch.h"
#include "model/engine/model_call.h"

namespace leapstream {
namespace {

constexpr int64_t kMostTokens = 1 << 30;  // Of a text whose state is loaded.

bool EndsWithTail(absl::Span<const TokenId> tokens, const Frame& frame) {
  const std::vector<TokenId>& tail = frame.source_tail;
  return tokens.size() >= tail.size() && std::equal(tail.rbegin(), tail.rend(), tokens.rbegin());
}

}  // namespace

void TransformerState::Reset() {
  for (const AttentionStates* states : {&encoder_, &self_, &cross_}) {
    for (const auto& state : *states) state->Reset();
  }
  prefix_.clear();
  target_.clear();
  if (speech_ != nullptr) OwnSpeech().Reset();
  progress_ = Progress();
}

SpeechFrontEnd::State& TransformerState::OwnSpeech() {
  if (speech_.use_count() > 1) speech_ = speech_->Clone();
  return *speech_;
}

void TransformerState::LeaveForced() {
  if (progress_.begun || frame_.forced.empty()) return;
  frame_.forced.clear();
  for (const auto& self : self_) self->Reset();
}

void TransformerState::SetFrame(const Frame& frame) {
  frame_ = frame;
  Reset();
}

void TransformerState::SetWaitK(int k, int write_stride) {
  k_ = k;
  write_stride_ = write_stride;
}

void TransformerState::Commit(TokenId token) {
  last_ = token;
  if (refreshes_) target_.push_back(token);
  ++progress_.target_written;
  Repeat();
}

void TransformerState::Repeat() {
  progress_.committed = true;
  progress_.begun = true;
  ++progress_.steps;
  for (const AttentionStates* states : {&self_, &cross_}) {
    for (const auto& state : *states) state->Settle();
  }
}

absl::StatusOr<std::unique_ptr<SessionState>> TransformerState::Clone() const {
  auto copy = std::make_unique<TransformerState>();
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a copy of a session's state", 1, [&] {
    for (const auto& [from, to] : {std::pair(&encoder_, &copy->encoder_),
                                   {&self_, &copy->self_},
                                   {&cross_, &copy->cross_}}) {
      for (const auto& state : *from) to->push_back(state->Clone());
    }
    copy->prefix_ = prefix_;
    return absl::OkStatus();
  }));
  copy->CopyRestFrom(*this);
  return copy;
}

absl::Status TransformerState::CopyFrom(const SessionState& any) {
  const auto& other = static_cast<const TransformerState&>(any);
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a copy of a session's state", 1, [&] {
    for (const auto& [from, to] : {std::pair(&other.encoder_, &encoder_),
                                   {&other.self_, &self_},
                                   {&other.cross_, &cross_}}) {
      for (size_t i = 0; i < from->size(); ++i) (*to)[i]->CopyFrom(*(*from)[i]);
    }
    prefix_ = other.prefix_;
    return absl::OkStatus();
  }));
  CopyRestFrom(other);
  return absl::OkStatus();
}

void TransformerState::CopyRestFrom(const TransformerState& other) {
  speech_ = other.speech_;
  progress_ = other.progress_;
  last_ = other.last_;
  frame_ = other.frame_;
  target_ = other.target_;
  shows_attention_ = other.shows_attention_;
  refreshes_ = other.refreshes_;
  ends_prefixes_ = other.ends_prefixes_;
  k_ = other.k_;
  write_stride_ = other.write_stride_;
}

void TransformerState::TakeEncoded(const SessionState& any) {
  const auto& other = static_cast<const TransformerState&>(any);
  if (progress_.prefix_is_encoded || !other.progress_.prefix_is_encoded) return;
  for (size_t i = 0; i < cross_.size(); ++i) cross_[i]->CopyFrom(*other.cross_[i]);
  progress_.prefix_is_encoded = true;
  MakeStale();
}

int64_t TransformerState::bytes() const {
  auto bytes =
      static_cast<int64_t>(sizeof(TransformerState) +
                           (prefix_.capacity() + target_.capacity()) * sizeof(TokenId));
  if (speech_ != nullptr) bytes += speech_->bytes() / speech_.use_count();
  for (const AttentionStates* states : {&encoder_, &self_, &cross_, &original_self_}) {
    for (const auto& state : *states) bytes += state->bytes();
  }
  return bytes;
}

void TransformerState::CountSource(absl::Span<const TokenId> tokens) {
  if (tokens.empty()) return;
  progress_.source_read = SourceReadAfter(tokens);
  progress_.source_rows += static_cast<int>(Lead().size() + tokens.size());
  progress_.source_finished = EndsWithTail(tokens, frame_);
}

int TransformerState::SourceReadAfter(absl::Span<const TokenId> tokens) const {
  const size_t tail = EndsWithTail(tokens, frame_) ? frame_.source_tail.size() - 1 : 0;
  return progress_.source_read + static_cast<int>(tokens.size() - tail);
}

int TransformerState::RowsOf(int source_read) const {
  if (source_read == progress_.source_read) return progress_.source_rows;
  return source_read + static_cast<int>(frame_.source_lead.size());
}

void TransformerState::CopySelf() {
  if (original_self_.empty()) {
    for (const auto& state : self_) original_self_.push_back(state->Clone());
  } else {
    for (size_t i = 0; i < self_.size(); ++i) original_self_[i]->CopyFrom(*self_[i]);
  }
  std::swap(self_, original_self_);
}

void TransformerState::TakeGiven(absl::Span<const TokenId> tokens, bool open) {
  if (!tokens.empty()) {
    last_ = tokens.back();
    progress_.begun = true;
    progress_.target_written += static_cast<int>(tokens.size());
    progress_.steps += static_cast<int>(tokens.size());
    if (refreshes_) target_.insert(target_.end(), tokens.begin(), tokens.end());
  }
  progress_.committed = !open;
}

void TransformerState::ReadAsText(absl::Span<const TokenId> tokens, SourceBatch* batch) {
  int first = progress_.source_rows;
  const size_t end = EndsWithTail(tokens, frame_) ? frame_.source_tail.size() : 0;
  for (const absl::Span<const TokenId> part : {Lead(), tokens.first(tokens.size() - end)}) {
    batch->Add(this, part, first);
    first += static_cast<int>(part.size());
  }
  CountSource(tokens);
}

void TransformerState::StepAsText(SourceBatch* batch) {
  OpenStep();
  const TokenId fed = Fed();
  const size_t end = progress_.source_finished ? frame_.source_tail.size() : 0;
  batch->provisional = true;
  batch->Add(this, {&fed, 1}, progress_.source_rows - static_cast<int>(end) + FedPosition());
}

std::string TransformerState::SaveText() const {
  std::string bytes;
  AppendNumber(progress_.source_read, &bytes);
  for (const auto& state : self_) state->Save(&bytes);
  return bytes;
}

absl::Status TransformerState::LoadText(absl::string_view bytes) {
  int64_t length = 0;
  bool good = TakeNumber(&bytes, kMostTokens, &length);
  for (const auto& state : self_) good = good && state->Load(length, &bytes);
  if (!good || !bytes.empty()) {
    return absl::InvalidArgumentError(
        "these bytes are no state of this network; use the state with the model that gave it");
  }
  progress_.source_read = progress_.source_rows = static_cast<int>(length);
  return absl::OkStatus();
}

void TransformerState::OpenStep() {
  if (!progress_.committed) {
    for (const auto& self : self_) self->Drop();
    // If a learned policy asked for more source, the moves of its heads stay.
    for (const auto& cross : cross_) {
      if (!progress_.wanted_source) cross->Drop();
    }
  }
  progress_.committed = false;
  progress_.wanted_source = false;
}

}  // namespace leapstream
