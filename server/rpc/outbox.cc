#include "server/rpc/outbox.h"

#include <utility>

namespace leapstream {
namespace {

bool OfOneStep(const v1::TargetDelta& a, const v1::TargetDelta& b) {
  return a.segment() == b.segment() && a.source_tokens_read() == b.source_tokens_read() &&
         a.source_audio_ms() == b.source_audio_ms();
}

}  // namespace

void Outbox::AddDelta(v1::TargetDelta delta) {
  if (messages_.empty() || !messages_.back().has_target() ||
      !OfOneStep(messages_.back().target(), delta)) {
    return AddSeparateDelta(std::move(delta));
  }
  v1::TargetDelta& last = *messages_.back().mutable_target();
  last.mutable_text()->append(delta.text());
  last.mutable_tokens()->MergeFrom(delta.tokens());
  bytes_ += static_cast<int64_t>(delta.ByteSizeLong());
}

void Outbox::AddSeparateDelta(v1::TargetDelta delta) {
  v1::StreamTranslateResponse response;
  delta.set_sequence(++deltas_);
  *response.mutable_target() = std::move(delta);
  Add(std::move(response));
}

void Outbox::Add(v1::StreamTranslateResponse response) {
  if (broken_) return;
  bytes_ += static_cast<int64_t>(response.ByteSizeLong());
  messages_.push_back(std::move(response));
}

void Outbox::Break() {
  broken_ = true;
  messages_.clear();
  bytes_ = 0;
}

v1::StreamTranslateResponse Outbox::StartWrite(SteadyTime now) {
  writing_ = true;
  write_started_ = now;
  v1::StreamTranslateResponse response = std::move(messages_.front());
  messages_.pop_front();
  bytes_ = messages_.empty() ? 0 : bytes_ - static_cast<int64_t>(response.ByteSizeLong());
  return response;
}

void Outbox::WriteDone(SteadyTime now) {
  writing_ = false;
  last_written_ = now;
}

}  // namespace leapstream
