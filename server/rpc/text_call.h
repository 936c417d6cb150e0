#ifndef LEAPSTREAM_SERVER_RPC_TEXT_CALL_H_
#define LEAPSTREAM_SERVER_RPC_TEXT_CALL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "leapstream/v1/language_model.pb.h"
#include "server/accounts.h"
#include "server/caller.h"
#include "server/rpc/one_message_call.h"
#include "streaming/generation.h"

namespace leapstream {

// The tokens of a text in one of its forms. INVALID_ARGUMENT: it is longer than budget::kPromptBytes,
// or an id is none of the model's.
absl::StatusOr<std::vector<TokenId>> TokensOf(const v1::TextInput& input, const Model& model);

// The amount of a text that TokensOf() takes.
Amount AmountOf(const v1::TextInput& input, const Model& model);

// The least busy scheduler of the model of this name; of no name: of the only one that does nothing
// but go on with texts. INVALID_ARGUMENT, MODEL_AMBIGUOUS: there is none or there are several, or
// MODEL_KIND_MISMATCH: the model of this name translates; NOT_FOUND: there is no such model.
absl::StatusOr<std::shared_ptr<Scheduler>> FindTextModel(const Serving& serving,
                                                        const std::string& name);

// A call whose texts a language model goes on with or scores, one after the other: a Generate or a
// Score. It holds a permit as a stream does. The step thread uses it until OnFinished().
class TextCall : public OneMessageCall, public GenerationSink, public LiveCall {
 public:
  // `method`: kGenerate or kScore.
  TextCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics,
           Caller caller, Method method);
  ~TextCall() override { serving_->admission.Remove(this); }

  void Start();
  CallDescription Describe() const override;
  const std::string& token_entry() const override { return caller_.token_entry; }
  void Drain(SteadyTime /*deadline*/) override {}  // The call ends by itself.
  void End(absl::Status why) override;

  void OnFinished(absl::Status status) final;

 protected:
  // Takes the message, and opens the first text by OpenText(). On the opener's thread. An error
  // also ends a text that is open.
  virtual absl::Status Open(grpc::ByteBuffer* bytes) = 0;
  // A text is complete. Opens the next one, or answers with Answer(). On the opener's thread.
  virtual absl::Status Next() = 0;
  // The call is over; a write may be in flight.
  virtual void Answer(absl::Status status) = 0;

  // Sets the model. Errors: those of FindTextModel().
  absl::Status FindModel(const std::string& name);
  absl::Status OpenText(GenerationRequest request);
  const Model& model() const { return *scheduler_->model(); }
  const std::string& session_id() const { return session_id_; }
  const Caller& caller() const { return caller_; }
  std::shared_ptr<Generation> session() const {
    MutexLock lock(&mutex_);
    return session_;
  }
  void CountText(const GeneratedText& text);
  CallUsage& usage() { return usage_; }

  TakenBytes bytes_;  // Used by the opener's thread, or by the step thread while a text is open.

 private:
  void OnRequest(grpc::ByteBuffer* bytes) final;
  // Runs `step`, which may open a text, on the opener's thread.
  void InTurn(const std::function<absl::Status()>& step);
  void Stop(absl::Status why) final { End(std::move(why)); }
  void OnReplied(const absl::Status& status) final;

  const char* name() const { return method_ == Method::kScore ? "Score" : "Generate"; }

  const Caller caller_;
  const Method method_;
  CallUsage usage_;
  const std::string session_id_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  Timer lasts_;  // Ends the call after max_session_duration.
  std::shared_ptr<Scheduler> scheduler_;  // Set before the first text is open.
  std::shared_ptr<TextCall> sink_reference_;

  mutable Mutex mutex_;
  int texts_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t prompt_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t generated_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Generation> session_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mutex_);  // The first status of End().
};

// Starts a call, which must be a TextCall.
template <typename Call>
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartText(
    Serving* serving, grpc::CallbackServerContext* context, Method method) {
  const CallMetrics metrics(serving->metrics.get(), method);
  absl::StatusOr<Caller> caller = IdentifyCaller(*context, serving->tokens.get());
  if (!caller.ok()) return Refuse(serving, metrics, caller.status());
  const std::string principal = caller->principal;
  const auto call = std::make_shared<Call>(serving, context, metrics, *std::move(caller));
  const absl::Status admitted = serving->admission.Admit(call, principal);
  if (!admitted.ok()) return Refuse(serving, metrics, admitted);
  // OnDone() cannot come before gRPC gets the reactor, so the pointer stays good.
  call->Start();
  return call.get();
}

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_TEXT_CALL_H_
