#include "client/web/web_session.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/evaluation/piped_audio.h"
#include "client/json/dump.h"
#include "client/json/events_json.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRecordBytes = 16 << 20;  // About a day of speech.

}  // namespace

WebSession::WebSession(std::unique_ptr<Stream> stream, const StreamOptions& options)
    : stream_(std::move(stream)), options_(options), last_push_(SteadyNow()) {
  thread_ = std::thread([this] { Pump(); });
}

WebSession::~WebSession() {
  stream_->Cancel();
  thread_.join();
}

absl::Status WebSession::Push(absl::string_view text, bool ends_segment) {
  size_t valid = 0;
  if (!IsUtf8(text, &valid)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected UTF-8, got something else after byte ", valid));
  }
  MutexLock order(&push_mutex_);
  LEAPSTREAM_RETURN_IF_ERROR(
      Take(Dump(Json{{"event", "source"}, {"text", text}, {"ends_segment", ends_segment}})));
  if (!text.empty()) LEAPSTREAM_RETURN_IF_ERROR(stream_->PushText(text));
  return ends_segment ? stream_->EndSegment() : absl::OkStatus();
}

absl::Status WebSession::PushAudio(absl::string_view samples) {
  if (options_.audio != AudioFormat::kPcmS16Le) {
    return absl::FailedPreconditionError("this session is not of audio; start one that is");
  }
  if (samples.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected whole 16-bit samples, got ", samples.size(), " bytes"));
  }
  MutexLock order(&push_mutex_);
  std::string beginning = audio_beginning_;
  bool is_raw = audio_is_raw_;
  if (!is_raw) {
    beginning.append(samples.data(), samples.size());
    PipedAudio audio(options_.sample_rate);
    if (!audio.Append(beginning).ok() || !audio.is_raw()) {
      return absl::InvalidArgumentError(
          "expected samples, got the header of an audio file; leave it out, or decode the file");
    }
    is_raw = audio.is_known();
  }
  const double ms = 500.0 * static_cast<double>(samples.size()) / options_.sample_rate;
  LEAPSTREAM_RETURN_IF_ERROR(Take(Dump(Json{{"event", "source"}, {"audio_ms", ms}})));
  // Refused samples are not part of the audio: the next ones are looked at in their place.
  audio_is_raw_ = is_raw;
  audio_beginning_ = is_raw ? "" : std::move(beginning);
  return stream_->PushAudio(samples);
}

absl::Status WebSession::Take(std::string event) {
  if (stream_->unsent_bytes() > kMaxUnsentBytes) {
    return absl::ResourceExhaustedError(
        "the server has not taken yet what was sent before; send more later");
  }
  MutexLock lock(&mutex_);
  if (ended_at_ != SteadyTime::InfiniteFuture()) {
    return absl::FailedPreconditionError("the session has ended; start another one");
  }
  if (bytes_ > kMaxRecordBytes) {
    return absl::ResourceExhaustedError("the session is as long as one may be; start another one");
  }
  last_push_ = SteadyNow();
  Record(std::move(event));
  return absl::OkStatus();
}

absl::Status WebSession::Close() {
  MutexLock order(&push_mutex_);
  return stream_->CloseSource();
}

void WebSession::Cancel() { stream_->Cancel(); }

std::vector<std::string> WebSession::EventsFrom(size_t first, SteadyTime deadline) {
  MutexLock lock(&mutex_);
  while (events_.size() <= first && ended_at_ == SteadyTime::InfiniteFuture()) {
    if (!changed_.WaitUntil(&mutex_, deadline)) break;
  }
  first = std::min(first, events_.size());
  return {events_.begin() + static_cast<std::ptrdiff_t>(first), events_.end()};
}

bool WebSession::over(size_t seen) const {
  MutexLock lock(&mutex_);
  return ended_at_ != SteadyTime::InfiniteFuture() && seen >= events_.size();
}

SteadyTime WebSession::ended_at() const {
  MutexLock lock(&mutex_);
  return ended_at_;
}

SteadyTime WebSession::last_push() const {
  MutexLock lock(&mutex_);
  return last_push_;
}

void WebSession::Pump() {
  while (const std::optional<Event> event = stream_->Next()) {
    MutexLock lock(&mutex_);
    Record(ToJson(*event));
  }
  const absl::Status status = stream_->Wait();
  MutexLock lock(&mutex_);
  ended_at_ = SteadyNow();
  Record(Dump(Json{{"event", "ended"},
               {"code", absl::StatusCodeToString(status.code())},
               {"message", status.message()}}));
}

void WebSession::Record(std::string event) {
  bytes_ += event.size();
  events_.push_back(std::move(event));
  changed_.NotifyAll();
}

}  // namespace leapstream::client
