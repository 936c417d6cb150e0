#include "model/engine/session_state.h"

#include <utility>

#include "base/status.h"
#include "model/engine/model_call.h"

namespace leapstream {

void TransformerState::Reset() {
  for (const AttentionStates* states : {&encoder_, &self_, &cross_}) {
    for (const auto& state : *states) state->Reset();
  }
  prefix_.clear();
  if (speech_ != nullptr) OwnSpeech().Reset();
  progress_ = Progress();
  progress_.last = start_;
}

SpeechFrontEnd::State& TransformerState::OwnSpeech() {
  if (speech_.use_count() > 1) speech_ = speech_->Clone();
  return *speech_;
}

void TransformerState::SetStart(TokenId token) {
  start_ = token;
  if (progress_.target_written == 0) progress_.last = token;
}

void TransformerState::SetWaitK(int k, int write_stride) {
  k_ = k;
  write_stride_ = write_stride;
}

void TransformerState::Commit(TokenId token) {
  progress_.last = token;
  ++progress_.target_written;
  Repeat();
}

void TransformerState::Repeat() {
  progress_.committed = true;
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
  k_ = other.k_;
  write_stride_ = other.write_stride_;
  start_ = other.start_;
}

int64_t TransformerState::bytes() const {
  auto bytes =
      static_cast<int64_t>(sizeof(TransformerState) + prefix_.capacity() * sizeof(TokenId));
  if (speech_ != nullptr) bytes += speech_->bytes() / speech_.use_count();
  for (const AttentionStates* states : {&encoder_, &self_, &cross_}) {
    for (const auto& state : *states) bytes += state->bytes();
  }
  return bytes;
}

void TransformerState::CountSource(absl::Span<const TokenId> tokens) {
  if (tokens.empty()) return;
  progress_.source_read += static_cast<int>(tokens.size());
  progress_.source_finished = tokens.back() == kEndOfSentence;
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
