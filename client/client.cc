#include "client/client.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/utf8.h"
#include "client/deadline.h"
#include "client/servers.h"
#include "client/session.h"
#include "client/wire.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace leapstream::client {
namespace {

constexpr size_t kMaxChunkBytes = 16 << 10;  // Any cut gives the same translation.
constexpr absl::Duration kProbeInterval = absl::Milliseconds(100);
// The wait for one server at first. It grows, since another address may answer, or the name may
// have got one.
constexpr absl::Duration kProbeTurn = absl::Seconds(1);

// The pauses between two rounds of calls to all servers.
constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);

// The longest prefix of `text` (UTF-8) that is at most kMaxChunkBytes and ends between characters.
absl::string_view FirstChunk(absl::string_view text) {
  if (text.size() <= kMaxChunkBytes) return text;
  size_t end = kMaxChunkBytes;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

absl::Status ListModelsOf(Server& server, SteadyTime deadline, std::vector<Model>* models) {
  pb::ListModelsRequest request;
  do {
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(deadline));
    pb::ListModelsResponse response;
    const grpc::Status status = server.stub->ListModels(&context, request, &response);
    if (!status.ok()) return WithNote(ToStatus(status), server.note);
    for (const auto& model : response.models()) {
      Model& added = models->emplace_back();
      added.name = model.name();
      added.source_language_codes = {model.source_language_codes().begin(),
                                     model.source_language_codes().end()};
      added.target_language_codes = {model.target_language_codes().begin(),
                                     model.target_language_codes().end()};
      added.license = model.license();
      added.origin = model.origin();
      added.checksum = model.checksum();
      added.speech = model.source_kind() == pb::SOURCE_KIND_SPEECH;
      added.read_duration = FromProto(model.read_duration());
      for (const std::string& policy : model.policies()) {
        added.policies.push_back(RuleNameOfWire(policy));
      }
      added.learned_policy = model.learned_policy();
      added.default_k = model.default_k();
      added.min_k = model.min_k();
      added.max_k = model.max_k();
      added.state_bytes_per_session = model.state_bytes_per_session();
      added.state_bytes_per_token = model.state_bytes_per_token();
      added.compute_type = model.compute_type();
      added.state_type = model.state_type();
      added.generates = model.generates();
      added.max_text_tokens = model.max_text_tokens();
      added.trained_text_tokens = model.trained_text_tokens();
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

}  // namespace

Stream::Stream(std::shared_ptr<Session> session) : session_(std::move(session)) {}

Stream::~Stream() {
  session_->Cancel();
  session_->Wait().IgnoreError();
}

absl::Status Stream::PushText(absl::string_view text) {
  size_t valid_bytes = 0;
  if (!IsUtf8(text, &valid_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("source text must be UTF-8, got none at byte ", valid_bytes));
  }
  while (!text.empty()) {
    const absl::string_view chunk = FirstChunk(text);
    if (absl::Status status = session_->Append(std::string(chunk)); !status.ok()) return status;
    text.remove_prefix(chunk.size());
  }
  return absl::OkStatus();
}

absl::Status Stream::PushAudio(absl::string_view samples) {
  const size_t width = session_->sample_bytes();
  if (width == 0) {
    return absl::InvalidArgumentError("the stream is of text; set StreamOptions::audio");
  }
  if (samples.size() % width != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("audio must be whole samples of ", width, " bytes, got ", samples.size()));
  }
  while (!samples.empty()) {
    // 16 KiB are whole samples of any width.
    const absl::string_view chunk = samples.substr(0, kMaxChunkBytes);
    if (absl::Status status = session_->Append(std::string(chunk)); !status.ok()) return status;
    samples.remove_prefix(chunk.size());
  }
  return absl::OkStatus();
}

absl::Status Stream::EndSegment() { return session_->EndSegment(); }
absl::Status Stream::KeepAlive() { return session_->KeepAlive(); }
absl::Status Stream::CloseSource() { return session_->CloseSource(); }
void Stream::Cancel() { session_->Cancel(); }
std::optional<Event> Stream::Next() { return session_->Next(); }
std::optional<Event> Stream::TryNext() { return session_->TryNext(); }
bool Stream::finished() const { return session_->finished(); }
absl::Status Stream::Wait() { return session_->Wait(); }
int64_t Stream::unsent_bytes() const { return session_->unsent_bytes(); }
int Stream::ready_fd() const { return session_->ready_fd(); }

absl::Status CheckServerAddresses(const ClientOptions& options) {
  return ParseServerAddresses(options).status();
}

Client::Client(std::shared_ptr<Servers> servers) : servers_(std::move(servers)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::shared_ptr<Servers> servers, Servers::Create(options));
  if (options.connect_timeout > absl::ZeroDuration()) {
    LEAPSTREAM_RETURN_IF_ERROR(servers->WaitUntilConnected(options.connect_timeout));
  }
  return std::unique_ptr<Client>(new Client(std::move(servers)));
}

std::unique_ptr<Stream> Client::StartStream(const StreamOptions& options) {
  auto session = std::make_shared<Session>(servers_, options);
  session->Start();
  return std::unique_ptr<Stream>(new Stream(std::move(session)));
}

absl::StatusOr<std::vector<Model>> Client::ListModels(absl::Duration timeout) {
  const SteadyTime deadline = SteadyNow() + timeout;
  absl::Status status;
  // One server answers for all. Servers that cannot be reached or take no call are passed over.
  // Their number may grow: the names may still be looked up.
  for (size_t tries = 0; tries < servers_->All().size(); ++tries) {
    const std::shared_ptr<Server> server = servers_->Next();
    std::vector<Model> models;
    status = ListModelsOf(*server, deadline, &models);
    if (status.ok()) return models;
    if (!absl::IsUnavailable(status)) break;
  }
  return status;
}

absl::StatusOr<TextTranslation> Client::Translate(absl::string_view text,
                                                  const TextOptions& options) {
  size_t valid_bytes = 0;
  if (!IsUtf8(text, &valid_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("source text must be UTF-8, got none at byte ", valid_bytes));
  }
  pb::TranslateRequest request;
  request.set_model(options.model);
  request.set_source_language_code(options.source_language_code);
  request.set_target_language_code(options.target_language_code);
  request.set_text(std::string(text));
  if (options.beam.has_value()) *request.mutable_beam_search() = ToProto(*options.beam);
  SetPolicy(options.policy, request.mutable_policy());
  request.set_text_segmentation(options.sentences ? pb::TEXT_SEGMENTATION_SENTENCES
                                                  : pb::TEXT_SEGMENTATION_OFF);
  if (!options.glossary.empty()) SetGlossary(options.glossary, request.mutable_glossary());
  request.set_keep_markup(options.keep_markup);
  const SteadyTime deadline = SteadyNow() + options.deadline;
  SteadyTime lost = SteadyTime::InfiniteFuture();  // Since when every call has failed.
  absl::Duration pause = kFirstPause;
  for (size_t tries = 1;; ++tries) {
    const std::shared_ptr<Server> server = servers_->Next();
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(deadline));
    pb::TranslateResponse response;
    const SteadyTime asked = SteadyNow();
    const absl::Status status =
        ToStatus(server->stub->Translate(&context, request, &response));
    if (status.ok()) return FromProto(std::move(response));
    lost = std::min(lost, absl::IsUnavailable(status) ? asked : SteadyNow());
    const bool passes = absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
    if (!passes || SteadyNow() + pause >= std::min(deadline, lost + options.retry_timeout)) {
      return WithNote(status, server->note);
    }
    if (tries % servers_->All().size() != 0) continue;  // Another server may take it at once.
    absl::SleepFor(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::Status Client::Probe(absl::Duration timeout) {
  const SteadyTime deadline = SteadyNow() + timeout;
  // Debian ships no health.proto. The request for the whole server is empty; the answer's only
  // field is read as an unknown one of Empty.
  using google::protobuf::Empty;
  std::string reason = "no answer", note;
  absl::Duration turn = kProbeTurn;
  for (size_t asked = 1;; ++asked) {
    const std::shared_ptr<Server> server = servers_->Next();
    grpc::TemplatedGenericStub<Empty, Empty> health(server->channel);
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(std::min(deadline, SteadyNow() + turn)));
    if (asked % servers_->All().size() == 0) turn *= 2;  // All have had theirs.
    note = server->note;
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
      auto models = ListModels(deadline - SteadyNow());
      if (models.ok()) return absl::OkStatus();
      reason = std::string(models.status().message());
    } else if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
      reason = status.error_message();
    }
    if (SteadyNow() + kProbeInterval >= deadline) break;
    absl::SleepFor(kProbeInterval);
  }
  return absl::UnavailableError(absl::StrCat(servers_->addresses(), " is not serving after ",
                                             absl::FormatDuration(timeout), ": ", reason, note));
}

bool IsUtf8(absl::string_view text, size_t* valid_bytes) {
  *valid_bytes = Utf8PrefixBytes(text);
  return *valid_bytes == text.size();
}

}  // namespace leapstream::client
