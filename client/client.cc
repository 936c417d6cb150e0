#include "client/client.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <future>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream::client {
namespace {

namespace pb = ::leapstream::v1;

constexpr size_t kMaxChunkBytes = 16 << 10;  // Any cut gives the same translation.
constexpr size_t kMaxQueuedEvents = 1024;    // Then the server is slowed down.
constexpr absl::Duration kProbeInterval = absl::Milliseconds(100);
constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void ToProto(absl::Duration duration, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

pb::SessionConfig ToProto(const StreamOptions& options) {
  pb::SessionConfig config;
  config.set_model(options.model);
  config.set_source_language_code(options.source_language_code);
  config.set_target_language_code(options.target_language_code);
  auto* policy = config.mutable_policy();
  if (options.k.has_value()) policy->mutable_wait_k()->set_k(*options.k);
  if (options.offline) policy->mutable_offline();
  policy->set_early_end(static_cast<pb::EarlyEnd>(options.early_end));  // Same numbers.
  policy->set_max_target_tokens(options.max_target_tokens);
  if (options.audio != AudioFormat::kNone) {
    config.set_input_format(options.audio == AudioFormat::kPcmS16Le ? pb::INPUT_FORMAT_PCM_S16LE
                                                                    : pb::INPUT_FORMAT_PCM_F32LE);
    config.set_sample_rate_hertz(options.sample_rate);
  }
  auto* output = config.mutable_output();
  output->set_token_details(options.token_details);
  output->set_log_probs(options.log_probs);
  output->set_segment_stats(options.segment_stats);
  if (options.idle_timeout > absl::ZeroDuration()) {
    ToProto(options.idle_timeout, config.mutable_idle_timeout());
  }
  return config;
}

StreamOptions FromProto(const pb::SessionConfig& config) {
  StreamOptions options;
  options.model = config.model();
  options.source_language_code = config.source_language_code();
  options.target_language_code = config.target_language_code();
  if (config.policy().has_wait_k()) options.k = config.policy().wait_k().k();
  options.offline = config.policy().has_offline();
  options.early_end = static_cast<EarlyEnd>(config.policy().early_end());
  options.max_target_tokens = config.policy().max_target_tokens();
  if (config.input_format() == pb::INPUT_FORMAT_PCM_S16LE) options.audio = AudioFormat::kPcmS16Le;
  if (config.input_format() == pb::INPUT_FORMAT_PCM_F32LE) options.audio = AudioFormat::kPcmF32Le;
  options.sample_rate = config.sample_rate_hertz();
  options.token_details = config.output().token_details();
  options.log_probs = config.output().log_probs();
  options.segment_stats = config.output().segment_stats();
  options.idle_timeout = FromProto(config.idle_timeout());
  return options;
}

SegmentStats FromProto(const pb::SegmentStats& stats) {
  SegmentStats result;
  result.source_tokens = stats.source_tokens();
  result.target_tokens = stats.target_tokens();
  result.average_lagging = stats.average_lagging();
  result.length_adaptive_average_lagging = stats.length_adaptive_average_lagging();
  result.first_token = FromProto(stats.first_token_duration());
  result.compute = FromProto(stats.compute_duration());
  result.queue = FromProto(stats.queue_duration());
  result.source_audio_ms = stats.source_audio_ms();
  return result;
}

// Nothing: an event that the user of this library need not see.
std::optional<Event> FromProto(const pb::StreamTranslateResponse& response) {
  switch (response.event_case()) {
    case pb::StreamTranslateResponse::kStarted: {
      const auto& started = response.started();
      Started event;
      event.session_id = started.session_id();
      event.model = started.model();
      event.model_checksum = started.model_checksum();
      event.applied = FromProto(started.effective_config());
      event.limits.max_chunk_bytes = started.limits().max_chunk_bytes();
      event.limits.max_source_tokens_per_segment = started.limits().max_source_tokens_per_segment();
      event.limits.max_session_duration = FromProto(started.limits().max_session_duration());
      event.limits.idle_timeout = FromProto(started.limits().idle_timeout());
      return event;
    }
    case pb::StreamTranslateResponse::kTarget: {
      const auto& target = response.target();
      Delta event;
      event.sequence = target.sequence();
      event.segment = target.segment();
      event.text = target.text();
      event.source_tokens_read = target.source_tokens_read();
      event.source_audio_ms = target.source_audio_ms();
      for (const auto& token : target.tokens()) {
        event.tokens.push_back({token.id(), token.piece(), token.source_tokens_read(),
                                token.log_prob(), FromProto(token.emit_offset()),
                                token.source_audio_ms()});
      }
      return event;
    }
    case pb::StreamTranslateResponse::kSegmentCompleted: {
      const auto& completed = response.segment_completed();
      SegmentCompleted event;
      event.segment = completed.segment();
      event.text = completed.text();
      event.reason = static_cast<FinishReason>(completed.finish_reason());  // Same numbers.
      if (completed.has_stats()) event.stats = FromProto(completed.stats());
      return event;
    }
    case pb::StreamTranslateResponse::kGoingAway:
      return GoingAway{FromProto(response.going_away().remaining_duration()),
                       pb::GoingAwayReason_Name(response.going_away().reason())};
    case pb::StreamTranslateResponse::kSummary: {
      const auto& summary = response.summary();
      return Summary{summary.segments(), summary.source_tokens(), summary.target_tokens(),
                     FromProto(summary.totals())};
    }
    case pb::StreamTranslateResponse::kResumePoint:
    case pb::StreamTranslateResponse::kHeartbeat:
    case pb::StreamTranslateResponse::EVENT_NOT_SET:  // Or of a newer server.
      break;
  }
  return std::nullopt;
}

// The longest prefix of `text` (UTF-8) that is at most kMaxChunkBytes and ends between characters.
absl::string_view FirstChunk(absl::string_view text) {
  if (text.size() <= kMaxChunkBytes) return text;
  size_t end = kMaxChunkBytes;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

// Reactions move messages only. The reactor keeps itself alive until OnDone().
class Stream::Call final
    : public grpc::ClientBidiReactor<pb::StreamTranslateRequest, pb::StreamTranslateResponse>,
      public std::enable_shared_from_this<Call> {
 public:
  Call() : ready_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~Call() override {
    if (ready_fd_ >= 0) close(ready_fd_);
  }

  size_t sample_bytes() const { return sample_bytes_; }  // 0: the stream is of text.

  void Start(pb::SimultaneousTranslationService::Stub& stub, const StreamOptions& options) {
    if (options.audio != AudioFormat::kNone) {
      sample_bytes_ = options.audio == AudioFormat::kPcmS16Le ? 2 : 4;
    }
    if (options.deadline < absl::InfiniteDuration()) {
      context_.set_deadline(absl::ToChronoTime(absl::Now() + options.deadline));
    }
    self_ = shared_from_this();
    stub.async()->StreamTranslate(&context_, this);
    AddHold();  // Until reading is over: calls from outside start reads and writes.
    pb::StreamTranslateRequest request;
    *request.mutable_config() = ToProto(options);
    MutexLock lock(&mutex_);
    Enqueue(std::move(request));
    StartRead(&response_);
    StartCall();
  }

  absl::Status Send(pb::StreamTranslateRequest request) {
    MutexLock lock(&mutex_);
    if (source_closed_) {
      return absl::FailedPreconditionError("the source was closed; open a new stream");
    }
    Enqueue(std::move(request));
    return absl::OkStatus();
  }

  absl::Status CloseSource() {
    MutexLock lock(&mutex_);
    if (source_closed_) return absl::FailedPreconditionError("the source was closed before");
    source_closed_ = true;
    WriteNext();
    return absl::OkStatus();
  }

  void Cancel() {
    MutexLock lock(&mutex_);
    if (done_) return;
    context_.TryCancel();
    Discard();
  }

  std::optional<Event> Next() {
    MutexLock lock(&mutex_);
    while (events_.empty() && !done_) changed_.Wait(&mutex_);
    return Take();
  }

  std::optional<Event> TryNext() {
    MutexLock lock(&mutex_);
    return Take();
  }

  bool finished() const {
    MutexLock lock(&mutex_);
    return done_ && events_.empty();
  }

  absl::Status Wait() {
    MutexLock lock(&mutex_);
    Discard();
    while (!done_) changed_.Wait(&mutex_);
    return status_;
  }

  int64_t unsent_bytes() const {
    MutexLock lock(&mutex_);
    return unsent_bytes_;
  }

  int ready_fd() const { return ready_fd_; }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    writing_ = false;
    unsent_bytes_ -= static_cast<int64_t>(outbox_.front().ByteSizeLong());
    outbox_.pop_front();
    if (ok) {
      WriteNext();
    } else {  // The call is over; its status tells why.
      outbox_.clear();
      unsent_bytes_ = 0;
    }
    Signal();
  }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(&mutex_);
      if (ok) {
        if (auto event = FromProto(response_); event.has_value() && !discard_) {
          events_.push_back(*std::move(event));
          Signal();
        }
        paused_ = events_.size() >= kMaxQueuedEvents;
        if (!paused_) StartRead(&response_);
        return;
      }
      read_over_ = true;
    }
    RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Call> self = std::move(self_);  // Freed last, if the Stream is gone.
    MutexLock lock(&mutex_);
    status_ = ToStatus(status);
    done_ = true;
    outbox_.clear();
    unsent_bytes_ = 0;
    Signal();
  }

 private:
  size_t sample_bytes_ = 0;  // Before the stream is shared.
  void Enqueue(pb::StreamTranslateRequest request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (read_over_) return;
    unsent_bytes_ += static_cast<int64_t>(request.ByteSizeLong());
    outbox_.push_back(std::move(request));
    WriteNext();
  }

  // gRPC allows one write in flight.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || read_over_) return;
    if (!outbox_.empty()) {
      writing_ = true;
      StartWrite(&outbox_.front());
    } else if (source_closed_ && !half_closed_) {
      half_closed_ = true;
      StartWritesDone();
    }
  }

  std::optional<Event> Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (events_.empty()) {
      uint64_t count;
      if (ready_fd_ >= 0 && read(ready_fd_, &count, sizeof(count)) < 0) return std::nullopt;
      return std::nullopt;
    }
    std::optional<Event> event = std::move(events_.front());
    events_.pop_front();
    if (events_.size() < kMaxQueuedEvents / 2) Resume();
    return event;
  }

  void Discard() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    discard_ = true;
    events_.clear();
    Resume();
    Signal();
  }

  void Resume() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!paused_) return;
    paused_ = false;
    StartRead(&response_);
  }

  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    changed_.NotifyAll();
    const uint64_t one = 1;
    // Fails only if the counter is full, and then it is readable already.
    if (ready_fd_ >= 0 && write(ready_fd_, &one, sizeof(one)) < 0) return;
  }

  const int ready_fd_;
  grpc::ClientContext context_;
  pb::StreamTranslateResponse response_;
  std::shared_ptr<Call> self_;  // Set before the call starts, cleared in OnDone().

  mutable Mutex mutex_;
  CondVar changed_;  // An event was added, or done_ was set.
  std::deque<pb::StreamTranslateRequest> outbox_ ABSL_GUARDED_BY(mutex_);  // Front: being written.
  int64_t unsent_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool source_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;   // No read is in flight: too many events wait.
  bool discard_ ABSL_GUARDED_BY(mutex_) = false;  // Nobody will take events any more.
  bool read_over_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

Stream::Stream(std::shared_ptr<Call> call) : call_(std::move(call)) {}

Stream::~Stream() {
  call_->Cancel();
  call_->Wait().IgnoreError();
}

absl::Status Stream::PushText(absl::string_view text) {
  size_t valid_bytes = 0;
  if (!IsUtf8(text, &valid_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("source text must be UTF-8, got none at byte ", valid_bytes));
  }
  while (!text.empty()) {
    const absl::string_view chunk = FirstChunk(text);
    pb::StreamTranslateRequest request;
    request.mutable_source()->set_text(chunk.data(), chunk.size());
    if (absl::Status status = call_->Send(std::move(request)); !status.ok()) return status;
    text.remove_prefix(chunk.size());
  }
  return absl::OkStatus();
}

absl::Status Stream::PushAudio(absl::string_view samples) {
  const size_t width = call_->sample_bytes();
  if (width == 0) {
    return absl::InvalidArgumentError("the stream is of text; set StreamOptions::audio");
  }
  if (samples.size() % width != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("audio must be whole samples of ", width, " bytes, got ", samples.size()));
  }
  while (!samples.empty()) {
    const absl::string_view chunk = samples.substr(0, kMaxChunkBytes);  // A multiple of any width.
    pb::StreamTranslateRequest request;
    request.mutable_source()->set_audio(chunk.data(), chunk.size());
    if (absl::Status status = call_->Send(std::move(request)); !status.ok()) return status;
    samples.remove_prefix(chunk.size());
  }
  return absl::OkStatus();
}

absl::Status Stream::EndSegment() {
  pb::StreamTranslateRequest request;
  request.mutable_end_segment();
  return call_->Send(std::move(request));
}

absl::Status Stream::KeepAlive() {
  pb::StreamTranslateRequest request;
  request.mutable_keep_alive();
  return call_->Send(std::move(request));
}

absl::Status Stream::CloseSource() { return call_->CloseSource(); }
void Stream::Cancel() { call_->Cancel(); }
std::optional<Event> Stream::Next() { return call_->Next(); }
std::optional<Event> Stream::TryNext() { return call_->TryNext(); }
bool Stream::finished() const { return call_->finished(); }
absl::Status Stream::Wait() { return call_->Wait(); }
int64_t Stream::unsent_bytes() const { return call_->unsent_bytes(); }
int Stream::ready_fd() const { return call_->ready_fd(); }

struct Client::Connection {
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::SimultaneousTranslationService::Stub> stub;
};

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // Probe() is for servers that are still starting: gRPC's own first pause is a second, growing to
  // two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  auto connection = std::make_unique<Connection>();
  connection->address = options.address;
  connection->channel =
      grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
  connection->stub = pb::SimultaneousTranslationService::NewStub(connection->channel);
  if (options.connect_timeout > absl::ZeroDuration()) {
    const auto deadline = absl::ToChronoTime(absl::Now() + options.connect_timeout);
    auto state = connection->channel->GetState(/*try_to_connect=*/true);
    // WaitForConnected() would go on after a refusal; one is enough here.
    while (state != GRPC_CHANNEL_READY) {
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
        return absl::UnavailableError(absl::StrCat("no server answers at ", options.address));
      }
      if (!connection->channel->WaitForStateChange(state, deadline)) {
        return absl::UnavailableError(absl::StrCat("no server answered at ", options.address,
                                                   " within ",
                                                   absl::FormatDuration(options.connect_timeout)));
      }
      state = connection->channel->GetState(/*try_to_connect=*/true);
    }
  }
  return std::unique_ptr<Client>(new Client(std::move(connection)));
}

std::unique_ptr<Stream> Client::StartStream(const StreamOptions& options) {
  auto call = std::make_shared<Stream::Call>();
  call->Start(*connection_->stub, options);
  return std::unique_ptr<Stream>(new Stream(std::move(call)));
}

absl::StatusOr<std::vector<Model>> Client::ListModels(absl::Duration timeout) {
  const auto deadline = absl::ToChronoTime(absl::Now() + timeout);
  std::vector<Model> models;
  pb::ListModelsRequest request;
  do {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    pb::ListModelsResponse response;
    const grpc::Status status = connection_->stub->ListModels(&context, request, &response);
    if (!status.ok()) return ToStatus(status);
    for (const auto& model : response.models()) {
      Model& added = models.emplace_back();
      added.name = model.name();
      added.source_language_codes = {model.source_language_codes().begin(),
                                     model.source_language_codes().end()};
      added.target_language_codes = {model.target_language_codes().begin(),
                                     model.target_language_codes().end()};
      added.checksum = model.checksum();
      added.speech = model.source_kind() == pb::SOURCE_KIND_SPEECH;
      added.read_duration = FromProto(model.read_duration());
      added.learned_policy = model.learned_policy();
      added.default_k = model.default_k();
      added.min_k = model.min_k();
      added.max_k = model.max_k();
      added.state_bytes_per_session = model.state_bytes_per_session();
      added.state_bytes_per_token = model.state_bytes_per_token();
      added.compute_type = model.compute_type();
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return models;
}

absl::Status Client::Probe(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  // Debian ships no health.proto. Its request for the whole server is empty; the answer's only
  // field is read as an unknown one of Empty.
  using google::protobuf::Empty;
  grpc::TemplatedGenericStub<Empty, Empty> health(connection_->channel);
  std::string reason = "no answer";
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    context.set_wait_for_ready(true);
    Empty request, response;
    std::promise<grpc::Status> answered;
    health.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
                     &response,
                     [&](grpc::Status result) { answered.set_value(std::move(result)); });
    const grpc::Status status = answered.get_future().get();
    if (status.ok()) {
      constexpr uint64_t kServing = 1;
      const auto& fields = response.GetReflection()->GetUnknownFields(response);
      if (fields.field_count() > 0 && fields.field(0).number() == 1 &&
          fields.field(0).type() == google::protobuf::UnknownField::TYPE_VARINT &&
          fields.field(0).varint() == kServing) {
        return absl::OkStatus();
      }
      reason = "it answers that it is not serving";
    } else if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      auto models = ListModels(deadline - absl::Now());
      if (models.ok()) return absl::OkStatus();
      reason = std::string(models.status().message());
    } else if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
      reason = status.error_message();
    }
    if (absl::Now() + kProbeInterval >= deadline) break;
    absl::SleepFor(kProbeInterval);
  }
  return absl::UnavailableError(absl::StrCat(connection_->address, " is not serving after ",
                                             absl::FormatDuration(timeout), ": ", reason));
}

std::string ErrorReason(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrorInfoUrl);
  google::rpc::ErrorInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return "";
  return info.reason();
}

bool IsUtf8(absl::string_view text, size_t* valid_bytes) {
  size_t i = 0;
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  for (; i < text.size();) {
    const unsigned char lead = byte(i);
    size_t length = 0;
    unsigned char low = 0x80, high = 0xBF;  // Of the second byte: no overlong form, no surrogate.
    if (lead < 0x80) {
      length = 1;
    } else if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      length = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      length = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    bool valid = length > 0 && i + length <= text.size();
    if (valid && length > 1) valid = byte(i + 1) >= low && byte(i + 1) <= high;
    for (size_t j = 2; valid && j < length; ++j) valid = (byte(i + j) & 0xC0) == 0x80;
    if (!valid) break;
    i += length;
  }
  *valid_bytes = i;
  return i == text.size();
}

}  // namespace leapstream::client
