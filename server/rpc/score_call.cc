#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "base/status.h"
#include "leapstream/v1/language_model.pb.h"
#include "server/rpc/text_call.h"
#include "server/rpc/unary_calls.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

absl::Status CheckTexts(int texts) {
  if (texts <= budget::kScoredTexts) return absl::OkStatus();
  return InvalidRequest("TOO_MANY_TEXTS", absl::StrCat("a call may have ", budget::kScoredTexts,
                                                       " texts, got ", texts,
                                                       "; send them in several calls"));
}

constexpr size_t kTokenBytes = 24;  // Of an answer, beside the piece.

absl::Status CheckAnswer(size_t bytes) {
  if (bytes <= budget::kTranslationBytes) return absl::OkStatus();
  return InvalidRequest("TEXT_TOO_LONG",
                        absl::StrCat("the answer is longer than ", budget::kTranslationBytes,
                                     " bytes, which one message may have; send fewer texts at once"));
}

// One Score: its texts are scored one after the other, by sessions that generate nothing.
class ScoreCall final : public TextCall {
 public:
  ScoreCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics,
            Caller caller)
      : TextCall(serving, context, metrics, std::move(caller), Method::kScore) {}

 private:
  absl::Status Open(grpc::ByteBuffer* bytes) override {
    // The answer has more than ten bytes for each token, which is some bytes of the request.
    LEAPSTREAM_RETURN_IF_ERROR(
        bytes_.GrowTo(static_cast<int64_t>(bytes->Length()) * budget::kBytesPerConfigByte));
    LEAPSTREAM_RETURN_IF_ERROR(Parse(bytes, &request_));
    LEAPSTREAM_RETURN_IF_ERROR(CheckTexts(request_.texts_size()));
    LEAPSTREAM_RETURN_IF_ERROR(FindModel(request_.model()));
    LEAPSTREAM_RETURN_IF_ERROR(Next());
    Amount all;
    for (const v1::ScoredInput& text : request_.texts()) {
      all.characters += AmountOf(text.input(), model()).characters;
    }
    return usage().TakeSource(all);
  }
  absl::Status Next() override {
    LEAPSTREAM_RETURN_IF_ERROR(CheckAnswer(answer_bytes_));
    if (response_.texts_size() == request_.texts_size()) return absl::OkStatus();
    const v1::ScoredInput& input = request_.texts(response_.texts_size());
    GenerationRequest text;
    LEAPSTREAM_ASSIGN_OR_RETURN(text.prompt, TokensOf(input.input(), model()));
    text.without_start = input.without_start();
    if (input.scored_from() < 0) {
      return InvalidRequest("INVALID_TEXT", absl::StrCat("scored_from must not be negative, got ",
                                                         input.scored_from()));
    }
    text.scored_from = static_cast<size_t>(input.scored_from());
    const size_t scored = text.prompt.size() - std::min(text.scored_from, text.prompt.size());
    LEAPSTREAM_RETURN_IF_ERROR(CheckAnswer(answer_bytes_ + scored * kTokenBytes));
    response_.add_texts();
    return OpenText(std::move(text));
  }

  void OnPromptScore(ScoredToken token) override {
    v1::ScoredText& text = *response_.mutable_texts(response_.texts_size() - 1);
    v1::GeneratedToken& added = *text.add_tokens();
    added.set_id(token.id);
    added.set_piece(std::string(model().target_vocabulary.Symbol(token.id)));
    added.set_log_prob(token.log_prob);
    answer_bytes_ += added.piece().size() + kTokenBytes;
    text.set_log_prob(text.log_prob() + token.log_prob);
  }
  void OnToken(GeneratedToken /*token*/) override {}
  void OnEnd(GeneratedText end) override { CountText(end); }
  void Answer(absl::Status status) override { Reply(std::move(status), &response_); }

  // Used by the opener's thread, or by the step thread while a text is open.
  v1::ScoreRequest request_;
  v1::ScoreResponse response_;
  size_t answer_bytes_ = 0;
};

// One Tokenize, which needs no session and no permit.
class TokenizeCall final : public OneMessageCall {
 public:
  using OneMessageCall::OneMessageCall;

 private:
  void OnRequest(grpc::ByteBuffer* bytes) override {
    if (++serving_->tokenizing > budget::kTokenizeCalls) {
      --serving_->tokenizing;
      return Reply(ServerFull("too many texts are being tokenized"));
    }
    serving_->opener.Do([self = shared_from_this(), this, bytes] {
      v1::TokenizeResponse response;
      const absl::Status status = replied() ? absl::OkStatus() : Tokenize(bytes, &response);
      --serving_->tokenizing;
      Reply(status, &response);
    });
  }
  absl::Status Tokenize(grpc::ByteBuffer* bytes, v1::TokenizeResponse* response) {
    v1::TokenizeRequest request;
    LEAPSTREAM_RETURN_IF_ERROR(Parse(bytes, &request));
    LEAPSTREAM_RETURN_IF_ERROR(CheckTexts(request.texts_size()));
    LEAPSTREAM_ASSIGN_OR_RETURN(const auto scheduler, FindTextModel(*serving_, request.model()));
    const Model& model = *scheduler->model();
    size_t answer_bytes = 0;
    for (const v1::TextInput& input : request.texts()) {
      LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, TokensOf(input, model));
      v1::TokenizedText& text = *response->add_texts();
      for (const TokenId token : tokens) {
        if (token < 0 || token >= model.target_vocabulary.size()) {
          return InvalidRequest("INVALID_TEXT",
                                absl::StrCat("a token of a text must be in [0, ",
                                             model.target_vocabulary.size(), "), got ", token));
        }
        text.add_ids(token);
        text.add_pieces(std::string(model.target_vocabulary.Symbol(token)));
        answer_bytes += model.target_vocabulary.Symbol(token).size() + kTokenBytes;
      }
      LEAPSTREAM_RETURN_IF_ERROR(CheckAnswer(answer_bytes));
    }
    return absl::OkStatus();
  }
  void OnReplied(const absl::Status& /*status*/) override {}
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartScore(
    Serving* serving, grpc::CallbackServerContext* context) {
  return StartText<ScoreCall>(serving, context, Method::kScore);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartTokenize(
    Serving* serving, grpc::CallbackServerContext* context) {
  const CallMetrics metrics(serving->metrics.get(), Method::kTokenize);
  const absl::Status known = IdentifyCaller(*context, serving->tokens.get()).status();
  if (!known.ok()) return Refuse(serving, metrics, known);
  const auto call = std::make_shared<TokenizeCall>(serving, context, metrics);
  call->ReadRequest();
  return call.get();
}

}  // namespace leapstream
