#include "client/texts.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "client/deadline.h"
#include "client/servers.h"
#include "client/wire.h"
#include "leapstream/v1/language_model.grpc.pb.h"

namespace leapstream::client {
namespace {

const char* EndName(v1::TextEnd end) {
  switch (end) {
    case v1::TEXT_END_END_OF_SENTENCE:
      return "end-of-sentence";
    case v1::TEXT_END_STOP_SEQUENCE:
      return "stop-sequence";
    default:
      return "max-tokens";
  }
}

v1::GenerateRequest GenerateRequestOf(absl::string_view prompt, const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_model(options.model);
  request.mutable_prompt()->set_text(std::string(prompt));
  v1::GenerationConfig& config = *request.mutable_config();
  config.set_max_tokens(options.max_tokens);
  config.set_min_tokens(options.min_tokens);
  config.set_temperature(options.temperature);
  config.set_top_k(options.top_k);
  config.set_top_p(options.top_p);
  config.set_seed(options.seed);
  for (const std::string& stop : options.stop) config.add_stop(stop);
  request.set_state(options.state);
  request.set_return_state(options.return_state);
  request.set_token_details(true);
  return request;
}

absl::Status CheckUtf8(absl::string_view text) {
  size_t valid_bytes = 0;
  if (IsUtf8(text, &valid_bytes)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("text must be UTF-8, got none at byte ", valid_bytes));
}

}  // namespace

absl::StatusOr<GeneratedEnd> Texts::Generate(absl::string_view prompt,
                                             const GenerateOptions& options,
                                             const OnText& on_text) {
  if (absl::Status utf8 = CheckUtf8(prompt); !utf8.ok()) return utf8;
  const std::shared_ptr<Server> server = client_->servers_->Next();
  const auto stub = v1::LanguageModelService::NewStub(server->channel);
  grpc::ClientContext context;
  context.set_deadline(GrpcDeadline(SteadyNow() + options.deadline));
  const auto reader = stub->Generate(&context, GenerateRequestOf(prompt, options));
  v1::GenerateResponse response;
  GeneratedEnd end;
  while (reader->Read(&response)) {
    if (response.has_delta()) {
      std::vector<TextToken> tokens;
      for (const v1::GeneratedToken& token : response.delta().tokens()) {
        tokens.push_back({token.id(), token.piece(), token.log_prob()});
      }
      on_text(response.delta().text(), tokens);
    } else if (response.has_completed()) {
      v1::GenerateCompleted& completed = *response.mutable_completed();
      end.end = EndName(completed.end());
      end.prompt_tokens = completed.usage().prompt_tokens();
      end.generated_tokens = completed.usage().generated_tokens();
      end.state = std::move(*completed.mutable_state());
      end.state_too_large = completed.state_too_large();
    }
  }
  const absl::Status status = ToStatus(reader->Finish());
  if (!status.ok()) return WithNote(status, server->note);
  return end;
}

absl::StatusOr<std::vector<std::vector<float>>> Texts::Score(const std::string& model,
                                                             const std::vector<ScoredRow>& rows) {
  v1::ScoreRequest request;
  request.set_model(model);
  for (const ScoredRow& row : rows) {
    v1::ScoredInput& text = *request.add_texts();
    text.mutable_input()->mutable_tokens()->mutable_ids()->Add(row.ids.begin(), row.ids.end());
    text.set_scored_from(row.scored_from);
    text.set_without_start(row.without_start);
  }
  const std::shared_ptr<Server> server = client_->servers_->Next();
  const auto stub = v1::LanguageModelService::NewStub(server->channel);
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const absl::Status status = ToStatus(stub->Score(&context, request, &response));
  if (!status.ok()) return WithNote(status, server->note);
  std::vector<std::vector<float>> scores;
  for (const v1::ScoredText& text : response.texts()) {
    std::vector<float>& row = scores.emplace_back();
    for (const v1::GeneratedToken& token : text.tokens()) row.push_back(token.log_prob());
  }
  return scores;
}

absl::StatusOr<std::vector<std::vector<int32_t>>> Texts::Tokenize(
    const std::string& model, const std::vector<std::string>& texts, bool pieces) {
  v1::TokenizeRequest request;
  request.set_model(model);
  for (const std::string& text : texts) {
    if (absl::Status utf8 = CheckUtf8(text); !utf8.ok()) return utf8;
    v1::TextInput& input = *request.add_texts();
    if (!pieces) {
      input.set_text(text);
      continue;
    }
    for (const absl::string_view piece : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
      input.mutable_pieces()->add_pieces(std::string(piece));
    }
  }
  const std::shared_ptr<Server> server = client_->servers_->Next();
  const auto stub = v1::LanguageModelService::NewStub(server->channel);
  grpc::ClientContext context;
  v1::TokenizeResponse response;
  const absl::Status status = ToStatus(stub->Tokenize(&context, request, &response));
  if (!status.ok()) return WithNote(status, server->note);
  std::vector<std::vector<int32_t>> ids;
  for (const v1::TokenizedText& text : response.texts()) {
    ids.emplace_back(text.ids().begin(), text.ids().end());
  }
  return ids;
}

}  // namespace leapstream::client
