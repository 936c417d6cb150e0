#include "server/rpc/text_call.h"

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/status.h"
#include "server/logging.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"

namespace leapstream {

absl::StatusOr<std::vector<TokenId>> TokensOf(const v1::TextInput& input, const Model& model) {
  if (input.ByteSizeLong() > budget::kPromptBytes) {
    return InvalidRequest(
        "TEXT_TOO_LONG",
        absl::StrCat("a text may have ", budget::kPromptBytes, " bytes, got ", input.ByteSizeLong(),
                     "; send it in parts, each with the state of the one "
                     "before"));
  }
  std::vector<TokenId> tokens;
  switch (input.form_case()) {
    case v1::TextInput::kText:
      for (const std::string& symbol : model.source_tokenizer->Encode(input.text())) {
        tokens.push_back(model.source_vocabulary.Id(symbol));
      }
      break;
    case v1::TextInput::kPieces:
      for (const std::string& piece : input.pieces().pieces()) {
        tokens.push_back(model.source_vocabulary.Id(piece));
      }
      break;
    case v1::TextInput::kTokens:
      tokens.assign(input.tokens().ids().begin(), input.tokens().ids().end());
      break;
    case v1::TextInput::FORM_NOT_SET:
      break;
  }
  return tokens;
}

Amount AmountOf(const v1::TextInput& input, const Model& model) {
  if (input.has_text()) return {CharactersIn(input.text()), absl::ZeroDuration()};
  SourceInput source;
  if (input.has_pieces()) {
    const auto& pieces = input.pieces().pieces();
    source = std::vector<std::string>(pieces.begin(), pieces.end());
  } else {
    const auto& ids = input.tokens().ids();
    source = std::vector<TokenId>(ids.begin(), ids.end());
  }
  return AmountOf(source, kSpeechSampleRate, model.source_vocabulary);
}

TextCall::TextCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics,
                   Caller caller, Method method)
    : OneMessageCall(serving, context, metrics),
      bytes_(&serving->texts),
      caller_(std::move(caller)),
      method_(method),
      usage_(serving->accounts.Of(caller_.principal)),
      session_id_(NewSessionId()),
      started_(SteadyNow()),
      lasts_(&serving->timers) {}

void TextCall::Start() {
  usage_.Began(method_);
  const absl::Duration limit = serving_->options.limits.max_session_duration;
  At(&lasts_, EndOf(started_, limit), [limit](OneMessageCall* call) {
    static_cast<TextCall*>(call)->End(WithReason(
        absl::AbortedError(absl::StrCat("the text is not complete after ",
                                        absl::FormatDuration(limit),
                                        ", as long as a session may last; ask for less at once")),
        "MAX_DURATION"));
  });
  ReadRequest();
}

CallDescription TextCall::Describe() const {
  CallDescription call;
  call.method = name();
  call.principal = caller_.principal;
  call.peer = caller_.peer;
  call.trace_id = caller_.trace_id;
  call.started = started_date_;
  call.age = SteadyNow() - started_;
  MutexLock lock(&mutex_);
  if (session_ != nullptr) {
    call.session_id = session_id_;
    call.model = scheduler_->model()->info.name;
  }
  call.segments = texts_;
  call.source_tokens = prompt_tokens_;
  call.target_tokens = generated_tokens_;
  return call;
}

void TextCall::End(absl::Status why) {
  std::shared_ptr<Generation> session;
  {
    MutexLock lock(&mutex_);
    if (!ended_.has_value()) ended_ = why;
    session = session_;
    if (session == nullptr && opening_) return;  // InTurn() will see it.
  }
  if (session != nullptr) return session->Cancel(std::move(why));
  Answer(std::move(why));
}

void TextCall::OnRequest(grpc::ByteBuffer* bytes) {
  {
    MutexLock lock(&mutex_);
    if (ended_.has_value()) return;
    opening_ = true;
  }
  serving_->opener.Do([self = shared_from_this(), this, bytes] {
    InTurn([this, bytes] { return Open(bytes); });
  });
}

void TextCall::InTurn(const std::function<absl::Status()>& step) {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = ended_.value_or(absl::OkStatus());
  }
  if (status.ok()) status = step();
  std::optional<absl::Status> ended;
  std::shared_ptr<Generation> session;
  {
    MutexLock lock(&mutex_);
    opening_ = false;
    ended = ended_;
    session = session_;
  }
  if (session == nullptr) return Answer(ended.value_or(status));
  if (ended.has_value()) status = *std::move(ended);
  if (!status.ok()) session->Cancel(std::move(status));
  session->Start();
}

absl::StatusOr<std::shared_ptr<Scheduler>> FindTextModel(const Serving& serving,
                                                        const std::string& name) {
  std::string chosen = name;
  if (name.empty()) {
    int found = 0;
    for (const auto& model : serving.models->All()) {
      if (!model->info.generates || model->info.translates) continue;
      chosen = model->info.name;
      ++found;
    }
    if (found != 1) {
      return InvalidRequest(
          "MODEL_AMBIGUOUS",
          absl::StrCat(found,
                       " models go on with texts alone, so the request needs the name of "
                       "one; ListModels says which models generate"));
    }
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(ServedModels::Choice choice, serving.models->Find({chosen, "", ""}));
  const Model& model = *choice.scheduler->model();
  if (!model.info.generates) return WithReason(CheckGeneration({}, model), "MODEL_KIND_MISMATCH");
  return std::move(choice.scheduler);
}

absl::Status TextCall::FindModel(const std::string& name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(scheduler_, FindTextModel(*serving_, name));
  return absl::OkStatus();
}

absl::Status TextCall::OpenText(GenerationRequest request) {
  sink_reference_ = std::static_pointer_cast<TextCall>(shared_from_this());
  absl::StatusOr<std::shared_ptr<Generation>> session = scheduler_->Open(std::move(request), this);
  if (!session.ok()) {
    sink_reference_.reset();
    const absl::Status why = session.status();
    return NotOpened(absl::IsInvalidArgument(why) ? WithReason(why, "INVALID_TEXT") : why);
  }
  MutexLock lock(&mutex_);
  session_ = *std::move(session);
  return absl::OkStatus();
}

void TextCall::CountText(const GeneratedText& text) {
  usage_.ReadPrompt(text.prompt_tokens);
  MutexLock lock(&mutex_);
  ++texts_;
  prompt_tokens_ += text.prompt_tokens;
  generated_tokens_ += text.generated_tokens;
}

void TextCall::OnFinished(absl::Status status) {
  const auto self = std::move(sink_reference_);
  {
    MutexLock lock(&mutex_);
    session_.reset();
    opening_ = status.ok();
  }
  if (!status.ok()) return Answer(WithSessionReason(std::move(status), session_id_));
  serving_->opener.Do([self, this] {
    InTurn([this] { return Next(); });
  });
}

void TextCall::OnReplied(const absl::Status& status) {
  serving_->admission.Release(this);
  const CallDescription call = Describe();
  LogEvent("text", {{"method", name()},
                    {"session_id", session_id_},
                    {"trace_id", caller_.trace_id},
                    {"principal", caller_.principal},
                    {"peer", caller_.peer},
                    {"model", scheduler_ == nullptr ? "" : scheduler_->model()->info.name},
                    {"texts", call.segments},
                    {"prompt_tokens", call.source_tokens},
                    {"generated_tokens", call.target_tokens},
                    {"source_characters", usage_.source_characters()},
                    {"seconds", absl::ToDoubleSeconds(SteadyNow() - started_)},
                    {"status", absl::StatusCodeToString(status.code())},
                    {"reason", ReasonOf(status)}});
}

}  // namespace leapstream
