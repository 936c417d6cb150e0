#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/budget.h"
#include "client/gateway/exchanges.h"
#include "client/gateway/json_mapping.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

namespace leapstream::gateway {
namespace {

// {"endSession": {}}, which stands for what gRPC has no message for.
bool IsEndOfSession(const std::string& message) {
  if (message.size() > 64) return false;
  const std::string dense =
      absl::StrReplaceAll(message, {{" ", ""}, {"\n", ""}, {"\r", ""}, {"\t", ""}});
  return dense == R"({"endSession":{}})" || dense == R"({"end_session":{}})";
}

// One WebSocket, and the StreamTranslate that it is. A message is read when the one before is with
// the server, and an answer when the client has taken those before: so neither side can make the
// gateway hold much for it.
class StreamExchange final : public HttpExchange,
                             public CallListener,
                             public std::enable_shared_from_this<StreamExchange> {
 public:
  StreamExchange(GatewayState* state, std::shared_ptr<HttpPeer> peer)
      : state_(state), peer_(std::move(peer)) {
    ++state_->streams;
  }
  ~StreamExchange() override {
    --state_->streams;
    if (captions_ != nullptr) state_->captions.Close(captions_, started_);
  }

  void Start(const HttpRequest& request) {
    peer_->AcceptWebSocket(SubprotocolOf(request));
    if (state_->options.max_streams > 0 && state_->streams > state_->options.max_streams) {
      return End(ErrorOf(absl::StatusCode::kUnavailable, "SERVER_FULL",
                         "too many sessions are open here; try again later"));
    }
    if (const std::string key = request.parameter("captions"); !key.empty()) {
      std::string id;
      absl::StatusOr<std::shared_ptr<Captions>> captions = state_->captions.Open(key, &id);
      if (!captions.ok()) {
        return End(ErrorOf(captions.status().code(), "CAPTIONS_INVALID",
                           captions.status().message()));
      }
      captions_ = *std::move(captions);
      peer_->Send(absl::StrCat(R"({"captions":{"id":")", id, R"("}})"));
    }
    call_ = Call::Start(&state_->calls, state_->options.channel(),
                        absl::StrCat(kServicePath, "StreamTranslate"),
                        MetadataOf(state_->options, request), shared_from_this());
    peer_->ReadMessage();
  }

  void OnMessage(std::string message, bool is_text) override {
    if (peer_ == nullptr || call_ == nullptr) return;
    v1::StreamTranslateRequest request;
    if (ended_) {
      return Fail("SESSION_ENDED", "nothing may come after endSession; begin another session");
    }
    if (is_text && IsEndOfSession(message)) {
      ended_ = true;
      call_->HalfClose();
      return peer_->ReadMessage();
    }
    if (is_text) {
      const absl::Status status = FromJson(message, &request);
      if (!status.ok()) return Fail("MALFORMED_MESSAGE", status.message());
    } else {
      request.mutable_source()->set_audio(std::move(message));
    }
    Number(&request);
    Caption(request);
    call_->Write(ToBytes(request), false);
  }
  void OnWritten() override {
    if (peer_ != nullptr) peer_->ReadMessage();
  }

  void OnResponse(grpc::ByteBuffer bytes) override {
    v1::StreamTranslateResponse response;
    if (peer_ == nullptr || !FromBytes(&bytes, &response)) return call_->Read();
    Caption(response);
    peer_->Send(ToJson(response));
    waits_ = peer_ != nullptr && peer_->unsent_bytes() > budget::kGatewayUnsentBytes;
    if (!waits_) call_->Read();
  }
  void OnSent() override {
    if (std::exchange(waits_, false)) call_->Read();
  }

  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) return End(ErrorOf(status));
    if (peer_ != nullptr) std::exchange(peer_, nullptr)->Close(kNormalClosure, "");
  }
  void OnGone() override {
    peer_ = nullptr;
    if (call_ != nullptr) call_->Cancel();
  }

 private:
  void Fail(absl::string_view reason, absl::string_view message) {
    End(ErrorOf(absl::StatusCode::kInvalidArgument, reason, message));
    call_->Cancel();
  }
  // Tells the client why its session ends here.
  void End(const GatewayError& error) {
    if (peer_ == nullptr) return;
    // After some errors the session goes on in another WebSocket.
    const bool may_go_on = error.status == "UNAVAILABLE" || error.reason == "IDLE_TIMEOUT";
    if (captions_ != nullptr && started_ && !may_go_on) captions_->Append(error.json());
    const std::shared_ptr<HttpPeer> peer = std::exchange(peer_, nullptr);
    peer->Send(error.json());
    peer->Close(kFirstCloseCode + error.grpc_code, error.reason);
  }

  // Numbers a chunk that has no number. So a session can be resumed whose client numbers nothing.
  void Number(v1::StreamTranslateRequest* request) {
    if (request->has_config()) {
      if (std::exchange(configured_, true)) return;  // The server refuses it.
      const v1::ResumeRequest& resume = request->config().resume();
      sequence_ = request->config().has_resume()
                      ? std::max<int64_t>(resume.next_source_sequence(), 1) - 1
                      : 0;
      audio_rate_ = request->config().sample_rate_hertz() > 0 ? request->config().sample_rate_hertz()
                                                              : 16000;
      sample_bytes_ = request->config().input_format() == v1::INPUT_FORMAT_PCM_F32LE ? 4 : 2;
      if (captions_ != nullptr && request->config().has_resume()) {
        captions_->ResumeSession(resume.committed_target().ids_size());
      } else if (captions_ != nullptr) {
        captions_->BeginSession();
        captions_->Append(ToJson(*request));
      }
    } else if (request->has_source()) {
      ends_ = 0;
      if (request->source().sequence() == 0) {
        if (sequence_ < std::numeric_limits<int64_t>::max()) ++sequence_;
        request->mutable_source()->set_sequence(sequence_);
      } else {
        sequence_ = request->source().sequence();
      }
    } else if (request->has_end_segment()) {
      ++ends_;
    }
  }

  void Caption(const v1::StreamTranslateRequest& request) {
    if (captions_ == nullptr || !(request.has_source() || request.has_end_segment()) ||
        !captions_->IsNew(sequence_, ends_)) {
      return;
    }
    if (request.source().content_case() != v1::SourceChunk::kAudio) {
      return captions_->Append(ToJson(request));
    }
    const double seconds = static_cast<double>(request.source().audio().size()) / sample_bytes_ /
                           audio_rate_;
    captions_->Append(absl::StrCat(R"({"heard":{"sequence":")", sequence_, R"(","duration":")",
                                   seconds, R"(s"}})"));
  }
  // Viewers get neither what resumes the session nor what is no caption. Of the point at which the
  // next segment begins they get the place in the source.
  void Caption(const v1::StreamTranslateResponse& response) {
    if (response.has_started()) started_ = true;
    if (captions_ == nullptr || response.has_heartbeat()) return;
    if (response.has_resume_point()) {
      const v1::ResumePoint& point = response.resume_point();
      if (point.segment() <= captions_->open_segment()) return;
      return captions_->Append(absl::StrCat(R"({"segmentBegins":{"segment":")", point.segment(),
                                            R"(","afterSequence":")",
                                            point.consumed_source_sequence(), R"("}})"));
    }
    v1::StreamTranslateResponse shown = response;
    if (shown.has_target() && !captions_->TakeNew(shown.mutable_target())) return;
    if (shown.has_segment_completed() &&
        !captions_->Complete(shown.segment_completed().segment())) {
      return;
    }
    if (shown.has_started()) {
      shown.mutable_started()->clear_session_id();
      shown.mutable_started()->mutable_effective_config()->clear_resume();
    }
    captions_->Append(ToJson(shown));
  }

  GatewayState* const state_;
  std::shared_ptr<HttpPeer> peer_;  // Null: the client was told the end, or has gone.
  std::shared_ptr<Call> call_;
  std::shared_ptr<Captions> captions_;
  bool started_ = false;
  bool configured_ = false;
  bool ended_ = false;    // endSession has come.
  bool waits_ = false;    // The next answer is read when the client has taken those before.
  int64_t sequence_ = 0;  // That of the last chunk.
  int64_t ends_ = 0;      // The ends of segments since then.
  int audio_rate_ = 16000;
  int sample_bytes_ = 2;
};

}  // namespace

std::shared_ptr<HttpExchange> StartStream(GatewayState* state, const HttpRequest& request,
                                          const std::shared_ptr<HttpPeer>& peer) {
  auto exchange = std::make_shared<StreamExchange>(state, peer);
  exchange->Start(request);
  return exchange;
}

}  // namespace leapstream::gateway
