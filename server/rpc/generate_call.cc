#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/status.h"
#include "leapstream/v1/language_model.pb.h"
#include "server/rpc/text_call.h"
#include "server/rpc/unary_calls.h"
#include "server/status_mapping.h"
#include "server/text_state.h"
#include "server/wire/to_proto.h"

namespace leapstream {
namespace {

constexpr size_t kMostQueuedMessages = 64;
constexpr size_t kJoinedBytes = 4 << 10;     // A waiting delta of fewer bytes takes in the next one.

v1::TextEnd TextEndToProto(TextEnd end) {
  switch (end) {
    case TextEnd::kEndOfSentence:
      return v1::TEXT_END_END_OF_SENTENCE;
    case TextEnd::kMaxTokens:
      return v1::TEXT_END_MAX_TOKENS;
    case TextEnd::kStopSequence:
      return v1::TEXT_END_STOP_SEQUENCE;
  }
  return v1::TEXT_END_UNSPECIFIED;
}

// Sets the fields that mean a default to the value that holds.
absl::StatusOr<v1::GenerationConfig> EffectiveGeneration(const v1::GenerationConfig& requested) {
  v1::GenerationConfig config = requested;
  if (config.max_tokens() == 0) config.set_max_tokens(budget::kGeneratedTokens);
  if (config.top_p() == 0) config.set_top_p(1);
  if (config.max_tokens() < 0 || config.max_tokens() > budget::kMostGeneratedTokens) {
    return InvalidRequest(
        "INVALID_TEXT",
        absl::StrCat("max_tokens needs to be in [1, ", budget::kMostGeneratedTokens, "], got ",
                     config.max_tokens(),
                     "; leave it unset for ", budget::kGeneratedTokens,
                     ", and go on from the state for more"));
  }
  return config;
}

// One Generate. Its messages wait in a queue, and tokens that wait are joined; while the queue is
// full, no token is made.
class GenerateCall final : public TextCall {
 public:
  GenerateCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics,
               Caller caller)
      : TextCall(serving, context, metrics, std::move(caller), Method::kGenerate) {}

 private:
  size_t most_request_bytes() const override {
    return static_cast<size_t>(serving_->options.max_state_message_bytes);
  }
  absl::Status Open(grpc::ByteBuffer* bytes) override {
    LEAPSTREAM_RETURN_IF_ERROR(
        bytes_.GrowTo(static_cast<int64_t>(bytes->Length()) * budget::kBytesPerTextByte));
    v1::GenerateRequest request;
    LEAPSTREAM_RETURN_IF_ERROR(Parse(bytes, &request));
    LEAPSTREAM_RETURN_IF_ERROR(FindModel(request.model()));
    LEAPSTREAM_ASSIGN_OR_RETURN(const v1::GenerationConfig config,
                                EffectiveGeneration(request.config()));
    GenerationRequest text;
    LEAPSTREAM_ASSIGN_OR_RETURN(text.prompt, TokensOf(request.prompt(), model()));
    text.scored_from = text.prompt.size();
    if (!request.state().empty()) {
      LEAPSTREAM_ASSIGN_OR_RETURN(
          text.from, UnsealText(request.state(), model().info, caller().principal, absl::Now(),
                                serving_->signer));
    }
    text.most_saved_bytes = serving_->options.max_state_message_bytes;
    text.max_tokens = config.max_tokens();
    text.min_tokens = config.min_tokens();
    text.sampling = {config.temperature(), config.top_k(), config.top_p(), config.seed()};
    text.stop.assign(config.stop().begin(), config.stop().end());
    text.saves = wants_state_ = request.return_state();
    token_details_ = request.token_details();
    LEAPSTREAM_RETURN_IF_ERROR(OpenText(std::move(text)));
    LEAPSTREAM_RETURN_IF_ERROR(usage().TakeSource(AmountOf(request.prompt(), model())));
    v1::GenerateResponse response;
    v1::GenerateStarted& started = *response.mutable_started();
    started.set_session_id(session_id());
    started.set_model(model().info.name);
    started.set_model_checksum(model().info.checksum);
    *started.mutable_config() = config;
    Enqueue(std::move(response));
    return absl::OkStatus();
  }
  // The signature of a large state takes milliseconds, which no text should wait for.
  absl::Status Next() override {
    v1::GenerateResponse response;
    *response.mutable_completed() = std::move(completed_);
    if (saved_.has_value()) {
      AddState(*saved_, response.mutable_completed());
    } else if (wants_state_) {
      response.mutable_completed()->set_state_too_large(true);
    }
    Enqueue(std::move(response));
    return absl::OkStatus();
  }

  void OnPromptScore(ScoredToken /*token*/) override {}
  void OnToken(GeneratedToken token) override {
    if (token.token.id != kEndOfSentence) {
      if (!left_.ok()) return End(left_);
      usage().GeneratedToken();
    }
    // The client gets the token that uses up a quota, and the text may be complete with it.
    left_ = usage().TakeGenerated(token.text);
    if (token.text.empty() && !token_details_) return;
    v1::GenerateResponse response;
    v1::GenerateDelta& delta = *response.mutable_delta();
    delta.set_text(std::move(token.text));
    if (token_details_) {
      v1::GeneratedToken& added = *delta.add_tokens();
      added.set_id(token.token.id);
      added.set_piece(std::string(model().target_vocabulary.Symbol(token.token.id)));
      added.set_log_prob(token.token.log_prob);
    }
    Enqueue(std::move(response));
  }
  void OnEnd(GeneratedText end) override {
    CountText(end);
    usage().TakeGenerated(end.text).IgnoreError();  // It is the end anyway.
    if (!end.text.empty()) {
      v1::GenerateResponse response;
      response.mutable_delta()->set_text(std::move(end.text));
      Enqueue(std::move(response));
    }
    completed_.set_end(TextEndToProto(end.end));
    v1::GenerationUsage& usage = *completed_.mutable_usage();
    usage.set_prompt_tokens(end.prompt_tokens);
    usage.set_generated_tokens(end.generated_tokens);
    *usage.mutable_first_token() = ToProto(end.first_token);
    *usage.mutable_compute() = ToProto(end.compute);
    *usage.mutable_queue() = ToProto(end.queue);
    saved_ = std::move(end.saved);
  }
  void AddState(const SavedText& saved, v1::GenerateCompleted* completed) {
    const int64_t most = serving_->options.max_state_message_bytes;
    const auto size = static_cast<int64_t>(saved.state.size());
    if (size + budget::kBesideStateBytes > most || !bytes_.GrowTo(3 * size).ok()) {
      return completed->set_state_too_large(true);
    }
    completed->set_state(SealText(saved, model().info, caller().principal,
                                  absl::Now() + serving_->options.resume_lifetime,
                                  serving_->signer));
  }

  // --- Writing. ---

  void Enqueue(v1::GenerateResponse response) {
    {
      MutexLock lock(&queue_mutex_);
      if (response.has_delta() && !queue_.empty() && queue_.back().has_delta() &&
          queue_.back().ByteSizeLong() < kJoinedBytes) {
        v1::GenerateDelta& last = *queue_.back().mutable_delta();
        last.mutable_text()->append(response.delta().text());
        last.mutable_tokens()->MergeFrom(response.delta().tokens());
      } else {
        queue_.push_back(std::move(response));
      }
      if (queue_.size() > kMostQueuedMessages && !held_) {
        held_ = true;
        if (const auto text = session(); text != nullptr) text->Hold();
      }
    }
    Pump();
  }
  void Answer(absl::Status status) override {
    {
      MutexLock lock(&queue_mutex_);
      if (answer_.has_value()) return;
      // Text that was written before a quota or the memory was used up is not lost.
      if (!status.ok() && !absl::IsResourceExhausted(status)) queue_.clear();
      answer_ = std::move(status);
    }
    Pump();
  }
  void OnSent() override {
    {
      MutexLock lock(&queue_mutex_);
      writing_ = false;
      if (held_ && queue_.size() <= kMostQueuedMessages / 2) {
        held_ = false;
        if (const auto text = session(); text != nullptr) text->Release();
      }
    }
    Pump();
  }
  // Starts the next write, or answers once nothing is left to be written.
  void Pump() {
    v1::GenerateResponse response;
    {
      MutexLock lock(&queue_mutex_);
      if (writing_ || replies_) return;
      if (queue_.empty()) {
        if (!answer_.has_value()) return;
        replies_ = true;
      } else {
        writing_ = true;
        response = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (response.event_case() == v1::GenerateResponse::EVENT_NOT_SET) return Reply(*answer_);
    Send(response);
  }

  bool token_details_ = false;  // Both are set before the text is open.
  bool wants_state_ = false;
  v1::GenerateCompleted completed_;  // These two are set by OnEnd(), for Next().
  std::optional<SavedText> saved_;
  absl::Status left_;  // OK: the next token may come. For OnToken() alone.
  Mutex queue_mutex_;
  std::deque<v1::GenerateResponse> queue_ ABSL_GUARDED_BY(queue_mutex_);
  bool writing_ ABSL_GUARDED_BY(queue_mutex_) = false;
  bool held_ ABSL_GUARDED_BY(queue_mutex_) = false;  // The session waits for the client to read.
  bool replies_ ABSL_GUARDED_BY(queue_mutex_) = false;
  std::optional<absl::Status> answer_;  // Guarded by queue_mutex_ until replies_; then constant.
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartGenerate(
    Serving* serving, grpc::CallbackServerContext* context) {
  return StartText<GenerateCall>(serving, context, Method::kGenerate);
}

}  // namespace leapstream
